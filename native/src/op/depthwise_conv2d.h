// depthwise_conv2d: a convolution of every channel by itself.                                  model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = act(conv(x) + bias), every channel with a kernel of its own; zeros around the map, cross-correlation as in
/// PyTorch.
struct DepthwiseConv2dArgs {
  Tensor x;           // [B, H, W, C] F32
  Tensor weight;      // [kh, kw, C] F32
  Tensor out;         // [B, H', W', C] F32; not x
  Tensor bias = {};   // [C] F32, optional
  Tensor slope = {};  // [C] F32, optional: PReLU after the bias
  int stride = 1;
  int pad = 0;  // on every side, at most the kernel's larger one
};
void depthwise_conv2d(Context&, const DepthwiseConv2dArgs&);

}  // namespace iconface::op
