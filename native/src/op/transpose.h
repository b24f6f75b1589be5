// transpose: channels by tokens to tokens by channels.                                         model-specification.md 6
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// [C, tokens] -> [tokens, C] (packing of (C, h, w) noise); F32, contiguous.
struct TransposeArgs {
  Tensor x, out;
};
void transpose(Context&, const TransposeArgs&);

}  // namespace iconface::op
