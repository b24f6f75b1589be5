// timestep_embedding: the sinusoidal embedding of a time.                                      model-specification.md 3
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// Sinusoidal embedding of 1000 t, cosines first, max period 10000, evaluated in double.
struct TimestepEmbeddingArgs {
  double timestep;
  Tensor out;  // [dim] F32, dim even
};
void timestep_embedding(Context&, const TimestepEmbeddingArgs&);

}  // namespace iconface::op
