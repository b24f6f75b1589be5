// token_detail: what of a token its neighbours do not have.                                    model-specification.md 5
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = x - mean over the valid cells of the 3x3 window on the token grid: what the detail route pools.
struct TokenDetailArgs {
  Tensor x, out;  // [rows * columns, D] F32, not the same memory
  int64_t rows = 0, columns = 0;
};
void token_detail(Context&, const TokenDetailArgs&);

}  // namespace iconface::op
