// add: the sum of two vectors of modulation.                                                   model-specification.md 4
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = a + b, element by element.
struct AddArgs {
  Tensor a, b, out;  // same shape, F32, contiguous; out may be a
};
void add(Context&, const AddArgs&);

}  // namespace iconface::op
