// lowrank_memory: the key and value side of a block's low-rank cross-attention.                model-specification.md 5
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

}  // namespace iconface::op
