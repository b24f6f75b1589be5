// What the kernels of attention share: the segments as the device sees them.
#pragma once
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"
#include "op/attention.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// Whose rows: a head of an item of the batch.
struct Head {
  int batch, index;
};

/// One run of tokens of one tensor: element (token, head, channel) is data[at(head) + token * token_stride + channel].
struct AttentionRun {
  void* data;
  int64_t batch_stride, token_stride, head_stride;  // elements
  __device__ __forceinline__ int64_t at(Head head) const {
    return head.batch * batch_stride + head.index * head_stride;
  }
};

struct AttentionProblem {
  static constexpr int kMax = op::AttentionArgs::kMaxSegments;
  // Query and key segments apart, those without tokens left out.
  int query_segments, key_segments;
  int queries[kMax], keys[kMax];  // tokens
  AttentionRun q[kMax], out[kMax], k[kMax], v[kMax];
  bool wide_out[kMax];  // rows of out may be touched 8 bytes at a time
  DType out_type[kMax];
  int batch, heads, d;
  int group;    // heads of q that share one of k and v
  bool causal;  // query i sees keys 0 .. i; one segment
  float scale;  // of the scores, times log2(e): the softmax runs in powers of two

  /// Heads of q are numbered through the batch.
  __device__ __forceinline__ Head head(int index) const { return {index / heads, index % heads}; }
  __device__ __forceinline__ Head key_head(Head head) const { return {head.batch, head.index / group}; }
};

/// How many of `blocks` blocks of `size` keys the queries see, the last of which is at `last` in the sequence.
__device__ __forceinline__ int seen_blocks(const AttentionProblem& p, int last, int size, int blocks) {
  return p.causal ? min(blocks, last / size + 1) : blocks;
}

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

// ---- 16 query rows in a warp's registers, as mma_m16n8k16 and wgmma leave them
// ---------------------------------------------- Part j of scores or out belongs to 8 keys or channels, of which lane
// l has 2 (l % 4) and the next in rows l / 4 ([0], [1]) and l / 4 + 8 ([2], [3]). Values per row come in twos for
// these two rows; a row is spread over four neighbouring lanes.

/// Keys from `count` on score -infinity.
template <int kParts>
__device__ __forceinline__ void mask_keys(int count, int lane, float (&scores)[kParts][4]) {
#pragma unroll
  for (int j = 0; j < kParts; j++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (j * 8 + lane % 4 * 2 + e % 2 >= count) scores[j][e] = -INFINITY;
}

/// Of these rows' scores, those of keys after the query are -infinity. `ahead`: the place of the part's first row in
/// the sequence less that of the block's first key.
template <int kParts>
__device__ __forceinline__ void mask_future(int ahead, int lane, float (&scores)[kParts][4]) {
#pragma unroll
  for (int j = 0; j < kParts; j++)
#pragma unroll
    for (int e = 0; e < 4; e++)
      if (j * 8 + lane % 4 * 2 + e % 2 > ahead + lane / 4 + e / 2 * 8) scores[j][e] = -INFINITY;
}

/// One step of the streamed softmax: scores become p = 2^(c score - c maximum), the maximum and this lane's share of
/// the sum follow; out must shrink by `shrink`.
template <int kParts>
__device__ __forceinline__ void soften_rows(float c, float (&scores)[kParts][4], float (&maximum)[2], float (&sum)[2],
                                            float (&shrink)[2]) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float before = maximum[half];
    float now = before;
#pragma unroll
    for (int j = 0; j < kParts; j++) now = fmaxf(now, fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 1));
    now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, 2));
    shrink[half] = fast_exp2((before - now) * c);
    const float minus = -now * c;
    float total = 0;
#pragma unroll
    for (int j = 0; j < kParts; j++)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; e++) {
        scores[j][e] = fast_exp2(fmaf(scores[j][e], c, minus));
        total += scores[j][e];
      }
    maximum[half] = now;
    sum[half] = sum[half] * shrink[half] + total;
  }
}

template <int kParts>
__device__ __forceinline__ void scale_rows(const float (&factor)[2], float (&out)[kParts][4]) {
#pragma unroll
  for (int j = 0; j < kParts; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) out[j][e] *= factor[e / 2];
}

/// Keys 16 step to 16 step + 15 of p as the left operand of the next product: it lies as the scores came.
template <int kParts>
__device__ __forceinline__ void pack_keys(const float (&p)[kParts][4], int step, uint32_t (&a)[4]) {
#pragma unroll
  for (int h = 0; h < 4; h++) a[h] = pack_bf16(p[2 * step + h / 2][h % 2 * 2], p[2 * step + h / 2][h % 2 * 2 + 1]);
}

/// Divides by the sums and stores rows first_row on of a block, those that exist, from `channel` on.
template <int kParts>
__device__ __forceinline__ void store_rows(const AttentionProblem& p, const TokenBlock& rows, Head head, int channel,
                                           int first_row, int lane, const float (&sum)[2],
                                           const float (&out)[kParts][4]) {
  const AttentionRun& run = p.out[rows.segment];
  const bool narrow = p.out_type[rows.segment] == DType::BF16, wide = p.wide_out[rows.segment];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float total = sum[half];
    total += __shfl_xor_sync(0xffffffffu, total, 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const float inverse = 1.0f / total;
    const int row = first_row + half * 8 + lane / 4;
    const int64_t at = run.at(head) + (rows.first + row) * run.token_stride;
#pragma unroll
    for (int j = 0; j < kParts; j += 2) {
      float v[2][2];
#pragma unroll
      for (int g = 0; g < 2; g++)
#pragma unroll
        for (int e = 0; e < 2; e++) v[g][e] = out[j + g][2 * half + e] * inverse;
      const bool here = row < rows.count && channel + j * 8 < p.d;  // d is a multiple of 16: both parts or none
      const int column = channel + j * 8 + lane % 4 * 2;
      if (narrow && wide) {
        // Even lanes take four columns of the first part, odd lanes four of the second.
        const bool odd = lane % 2 != 0;
        const uint32_t first = pack_bf16(v[0][0], v[0][1]), second = pack_bf16(v[1][0], v[1][1]);
        const uint32_t other = __shfl_xor_sync(0xffffffffu, odd ? first : second, 1);
        if (here)
          *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(run.data) + at + (odd ? column + 6 : column)) =
              odd ? make_uint2(other, second) : make_uint2(first, other);
      } else if (here) {
#pragma unroll
        for (int g = 0; g < 2; g++) {
          if (!narrow && wide) {
            *reinterpret_cast<float2*>(static_cast<float*>(run.data) + at + column + g * 8) =
                make_float2(v[g][0], v[g][1]);
            continue;
          }
#pragma unroll
          for (int e = 0; e < 2; e++) {
            if (narrow)
              static_cast<__nv_bfloat16*>(run.data)[at + column + g * 8 + e] = to_bf16(v[g][e]);
            else
              static_cast<float*>(run.data)[at + column + g * 8 + e] = v[g][e];
          }
        }
      }
    }
  }
}

/// The launchers of attention.cu's cases.
void attention_mma(Context&, const AttentionProblem&);  // bf16, d a multiple of 16 up to 512, aligned
bool attention_wgmma(
    Context&,
    const AttentionProblem&);  // bf16, d = 128, aligned, neither causal nor grouped, sm_90a only; false: not done
void attention_fma(Context&, const AttentionProblem&, DType type);  // everything else

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
