// resize_tokens: a grid of tokens, enlarged or reduced.                                        model-specification.md 5
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// Bilinear resize of a token grid, half-pixel centres, edges clamped. (paper Eq. 6)
struct ResizeTokensArgs {
  Tensor x, out;  // [rows_x * columns_x, D] -> [rows_out * columns_out, D] F32
  int64_t rows_x = 0, columns_x = 0, rows_out = 0, columns_out = 0;
};
void resize_tokens(Context&, const ResizeTokensArgs&);

}  // namespace iconface::op
