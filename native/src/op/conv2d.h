// conv2d: a convolution with all that follows it: bias, PReLU, residual.                       model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = act(conv(upsample(x)) + bias) + residual, cross-correlation as in PyTorch.
struct Conv2dArgs {
  Tensor x;              // [B, H, W, C] F32 or BF16, contiguous
  Tensor weight;         // [O, kh, kw, C] F32, BF16 or F16 (channels last: see to_channels_last)
  Tensor out;            // [B, H', W', O] F32 or BF16
  Tensor bias = {};      // [O] F32, optional
  Tensor slope = {};     // [O] F32, optional: PReLU after the bias
  Tensor residual = {};  // [B, H', W', O] F32, optional: added last; may be out
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;  // zeros
  int upsample = 1;                                              // 2: nearest-neighbour before the padding
  DType compute = DType::F32;                                    // F32 or BF16: what is multiplied; sums are f32
};
void conv2d(Context&, const Conv2dArgs&);

}  // namespace iconface::op
