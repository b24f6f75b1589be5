// qk_norm_rope: RMSNorm and rotary embedding of queries and keys, in place.              model-specification.md 2, 3, 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// Which elements of a head are rotated together, in pairs m = 0 .. d/2 - 1.
enum class RopePairs {
  Adjacent,  // (2m, 2m + 1): FLUX
  Halves,    // (m, m + d/2): Qwen3
};

/// In place on q and k: RMSNorm over a head (eps 1e-6 inside the root) times a learned scale, then rotation of the
/// pairs: (e, o) -> (cos e - sin o, sin e + cos o).
struct QkNormRopeArgs {
  Tensor q, k;              // [batch, tokens, H, d] F32 or BF16, strided rows (views into qkv); either may be absent
  Tensor q_scale, k_scale;  // [d] F32, BF16 or F16
  Tensor cos, sin;          // [tokens, d/2] F32
  RopePairs pairs = RopePairs::Adjacent;
};
void qk_norm_rope(Context&, const QkNormRopeArgs&);

}  // namespace iconface::op
