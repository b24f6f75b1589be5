// The block-wise degraded cross-attention, computed in rank space.                model-specification.md 5, paper Eq. 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// The key/value side of one block, constant for a whole restore: keys K_j = (down_k M) (U_qj^T U_kj)^T, that is
/// logits_j = a K_j^T with a = down_q(LN(h)); values V = down_v M.
struct LowrankMemoryArgs {
  Tensor memory;            // [M, D] F32
  Tensor query_up;          // [D, r] F32, BF16 or F16
  Tensor key_down, key_up;  // [r, D], [D, r]
  Tensor value_down;        // [r, D]
  Tensor keys;              // out: [H, M, r] F32, scaled by 1/sqrt(d)
  Tensor values;            // out: [M, r] F32
};
void lowrank_memory(Context&, const LowrankMemoryArgs&);

/// h += gate * concat_j( U_vj softmax(a K_j^T) V ), a = down_q(LN(h)). LN, softmax, sums and h are f32 in every case. BF16
/// allows products of operands rounded to bf16, which GPUs make on tensor cores where the shape suits them; the processor
/// multiplies f32 either way.
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

/// out = x - mean over the valid cells of the 3x3 window on the token grid: what the detail route pools.
/// model-specification.md 5
struct TokenDetailArgs {
  Tensor x, out;  // [rows * columns, D] F32, not the same memory
  int64_t rows = 0, columns = 0;
};
void token_detail(Context&, const TokenDetailArgs&);

/// Bilinear resize of a token grid, half-pixel centres, edges clamped. model-specification.md 5 (Eq. 6)
struct ResizeTokensArgs {
  Tensor x, out;  // [rows_x * columns_x, D] -> [rows_out * columns_out, D] F32
  int64_t rows_x = 0, columns_x = 0, rows_out = 0, columns_out = 0;
};
void resize_tokens(Context&, const ResizeTokensArgs&);

}  // namespace iconface::op
