// silu: x times sigmoid(x), of modulation vectors.                                             model-specification.md 3
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = x * sigmoid(x), element by element.
struct SiluArgs {
  Tensor x, out;  // same shape, F32, contiguous; may be the same
};
void silu(Context&, const SiluArgs&);

}  // namespace iconface::op
