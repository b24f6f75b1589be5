// lowrank_cross_attention: the block-wise cross-attention to the degraded memory, in rank space.
// model-specification.md 5
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// h += gate * concat_j( U_vj softmax(a K_j^T) V ), a = down_q(LN(h)). LN, softmax, sums and h are f32 in every case.
/// BF16 allows products of operands rounded to bf16, which GPUs make on tensor cores where the shape suits them; the
/// CPU multiplies f32 either way.
struct LowrankCrossAttentionArgs {
  Tensor h;           // [batch, tokens, D] F32, in place, rows may be strided
  Tensor query_down;  // [r, D] F32, BF16 or F16
  Tensor keys;        // [H, M, r] F32
  Tensor values;      // [M, r] F32
  Tensor value_up;    // [D, r] F32, BF16 or F16
  float gate = 1;
  DType compute = DType::F32;  // F32 or BF16: what may be multiplied
};
void lowrank_cross_attention(Context&, const LowrankCrossAttentionArgs&);

}  // namespace iconface::op
