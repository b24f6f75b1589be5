// subsample: every n-th row and column of a feature map.                                       model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// Rows and columns 0, s, 2s, ... of x: a 1x1 max-pool with stride s (the shortcut of AdaFace's IR blocks).
struct SubsampleArgs {
  Tensor x, out;  // [B, H, W, C] -> [B, ceil(H/s), ceil(W/s), C], one dtype
  int stride = 2;
};
void subsample(Context&, const SubsampleArgs&);

}  // namespace iconface::op
