// group_norm_silu: GroupNorm, then SiLU.                                                       model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// GroupNorm(groups, eps) with affine, then SiLU unless `silu` is false. Statistics in f32 per chunk of pixels, the
/// chunks joined in double.
struct GroupNormSiluArgs {
  Tensor x;             // [B, H, W, C] F32 or BF16
  Tensor out;           // same shape, F32 or BF16; may be x
  Tensor weight, bias;  // [C] F32
  int groups = 32;
  float eps = 1e-6f;
  bool silu = true;
};
void group_norm_silu(Context&, const GroupNormSiluArgs&);

}  // namespace iconface::op
