// max_pool2d: the largest value of a window.                                                   model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// The largest of size x size values, every `stride`; what lies around the map does not count, nor does a NaN.
struct MaxPool2dArgs {
  Tensor x, out;  // [B, H, W, C] -> [B, H', W', C] F32, H' = (H + 2 pad - size) / stride + 1
  int size = 2, stride = 2;
  int pad = 0;  // at most size / 2
};
void max_pool2d(Context&, const MaxPool2dArgs&);

}  // namespace iconface::op
