// What the kernels of attention share: the segments as the device sees them.
#pragma once
#include "cuda/launch.cuh"
#include "cuda/numbers.cuh"
#include "op/attention.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// One run of tokens of one tensor: element (token, head, channel) is data[token * token_stride + head * head_stride +
/// channel].
struct AttentionRun {
  void* data;
  int64_t token_stride, head_stride;  // elements
};

struct AttentionProblem {
  static constexpr int kMax = op::AttentionArgs::kMaxSegments;
  // Query and key segments apart, those without tokens left out.
  int query_segments, key_segments;
  int queries[kMax], keys[kMax];  // tokens
  AttentionRun q[kMax], out[kMax], k[kMax], v[kMax];
  bool wide_out[kMax];  // rows of out may be touched 8 bytes at a time
  DType out_type[kMax];
  int heads, d;
  float scale;  // of the scores, times log2(e): the softmax runs in powers of two
};

/// Block `index` of `size` tokens of the segments that `tokens` counts, none of which spans two segments.
struct TokenBlock {
  int segment = 0, first = 0, count = 0;

  __device__ __forceinline__ static TokenBlock at(const int (&tokens)[AttentionProblem::kMax], int index, int size) {
    TokenBlock b;
#pragma unroll
    for (int i = 0; i < AttentionProblem::kMax; i++) {
      const int here = (tokens[i] + size - 1) / size;
      if (index >= 0 && index < here) {
        b.segment = i;
        b.first = index * size;
        b.count = min(size, tokens[i] - b.first);
      }
      index -= here;
    }
    return b;
  }
  __host__ __device__ static int blocks(const int (&tokens)[AttentionProblem::kMax], int size) {
    int n = 0;
    for (int i = 0; i < AttentionProblem::kMax; i++) n += (tokens[i] + size - 1) / size;
    return n;
  }
};

/// The launchers of attention.cu's two cases.
void attention_mma(Context&, const AttentionProblem&);              // bf16, d a multiple of 16 up to 512, aligned
void attention_fma(Context&, const AttentionProblem&, DType type);  // everything else

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
