// attention: softmax(q k^T / sqrt(d)) v over segments read where they lie.               model-specification.md 3, 5, 7
#pragma once
#include <array>

#include "runtime/context.h"

namespace iconface::op {

/// The keys of all segments form one sequence in the order given; the queries are those segments that name q and out.
/// So text and image rows need no concatenation, the last block asks for the scene rows only, and a pooler's learned
/// queries attend to other tokens' keys. Scores and softmax in f32, streamed: memory does not grow with tokens^2.
/// Grouped queries: k and v may have fewer heads, H = n G; query head h reads key/value head h / n.
/// All tensors may have a leading batch axis, whose items do not see each other: on a GPU one launch, so that few
/// queries fill the machine. What is read may have one item, which then serves all.
struct AttentionSegment {
  Tensor q = {}, out = {};  // [(batch,) tokens_q, H, d], both or neither
  Tensor k = {}, v = {};    // [(batch,) tokens_k, G, d], both or neither; G divides H
};
struct AttentionArgs {
  static constexpr int kMaxSegments = 4;
  int segments = 0;
  std::array<AttentionSegment, kMaxSegments> segment;  // one dtype (F32 or BF16) and one H, G, d for all; out either
  float scale = 0;                                     // 0 means 1/sqrt(d)
  /// Query i sees keys 0 .. i (one segment). Fewer keys than queries: the last queries see all of them, as the padding
  /// after a text does, whose own keys nobody sees.
  bool causal = false;
};
/// Items of the batch: the most that a tensor has which is read; 1 without a batch axis.
int64_t batch_of(const AttentionArgs&);

/// @throws InvalidArgument naming the tensor and its shape
void attention(Context&, const AttentionArgs&);

}  // namespace iconface::op
