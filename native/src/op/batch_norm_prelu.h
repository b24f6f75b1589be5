// batch_norm_prelu: a folded BatchNorm, then PReLU.                                            model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = x * scale + shift per channel, then PReLU when `slope` is given. BatchNorm with stored statistics is
/// scale = w / sqrt(var + eps), shift = b - mean * scale.
struct BatchNormPreluArgs {
  Tensor x, out;        // [B, H, W, C] F32 or BF16; may be the same
  Tensor scale, shift;  // [C] F32
  Tensor slope = {};    // [C] F32, optional
};
void batch_norm_prelu(Context&, const BatchNormPreluArgs&);

}  // namespace iconface::op
