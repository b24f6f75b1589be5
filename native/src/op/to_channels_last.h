// to_channels_last: weights of a convolution in the order that conv2d reads.                   model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// A PyTorch convolution weight [O, C, kh, kw] as [O, kh, kw, C], optionally times scale[o] (a folded BatchNorm).
struct ToChannelsLastArgs {
  Tensor weight;      // [O, C, kh, kw] F32, BF16 or F16
  Tensor out;         // [O, kh, kw, C] F32 or BF16
  Tensor scale = {};  // [O] F32, optional
};
void to_channels_last(Context&, const ToChannelsLastArgs&);

}  // namespace iconface::op
