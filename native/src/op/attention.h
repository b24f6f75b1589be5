// attention: softmax(q k^T / sqrt(d)) v, non-causal, over segments read where they lie.                      spec 3, 5, 7
#pragma once
#include <array>

#include "runtime/context.h"

namespace iconface::op {

/// The keys of all segments form one sequence in the order given; the queries are those segments that name q and out.
/// So text and image rows need no concatenation, the last block asks for the scene rows only, and a pooler's learned
/// queries attend to other tokens' keys. Scores and softmax in f32, streamed: memory does not grow with tokens^2.
struct AttentionSegment {
  Tensor q = {}, out = {};  // [tokens_q, H, d], both or neither
  Tensor k = {}, v = {};    // [tokens_k, H, d], both or neither
};
struct AttentionArgs {
  static constexpr int kMaxSegments = 4;
  int segments = 0;
  std::array<AttentionSegment, kMaxSegments> segment;  // one dtype (F32 or BF16) and one H, d for all; out F32 or BF16
  float scale = 0;                                     // 0 means 1/sqrt(d)
};
void attention(Context&, const AttentionArgs&);

}  // namespace iconface::op
