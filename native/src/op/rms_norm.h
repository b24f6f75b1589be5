// rms_norm: RMSNorm over the last axis.                                                        model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = x / sqrt(mean(x^2) + 1e-6) * weight, in f32, rounded once at the end.
struct RmsNormArgs {
  Tensor x;       // [..., D] F32 or BF16, rows may be strided
  Tensor out;     // same shape, F32 or BF16; may be x if it has x's type
  Tensor weight;  // [D] F32, BF16 or F16
};
void rms_norm(Context&, const RmsNormArgs&);

}  // namespace iconface::op
