// lowrank_cross_attention: h += gate * concat_j( U_vj softmax(a K_j^T) V ),  a = down_q(LN(h))
// model-specification.md 5, paper Eq. 7
// h [tokens, D] F32 in place; K [heads, M, r], V [M, r]; U_v [D, r], head j owning d = D / heads rows. All in f32, exact:
// for compute F32, and for what lowrank_cross_attention_mma.cu, which does bf16 on tensor cores, has no shape for.
//
// Work split: a warp takes 4 tokens through everything, a block of 4 warps shares K_j, V and U_vj in shared memory
// (rank outermost, so that a lane reads four keys or channels at once). A lane holds the logits of 8 of 256 keys for
// all four tokens; their softmax is streamed over runs of 256 keys; the 16 x 4 sums of P V over a warp's keys are
// added up by halving exchanges. Ranks go by in runs of 16, channels of a head in runs of 128; the usual case is one
// run of each, and then a head costs one fill of shared memory. LN: mean first, then variance and down_q together
// from the L1 cache.
//
// Must move: h in and out, 8 D bytes a token, and K, V, W once a block through the L2 cache; klein-4B, 2 x 2,048 image
// tokens: 100 MB against 2.4 GFLOP and 25 million exponentials. Limit: the f32 rate.
#include "cuda/common/rows.cuh"
#include "cuda/kernels.h"
#include "cuda/lowrank/lowrank.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kWarps = 4, kThreads = 32 * kWarps, kTokens = 4;
constexpr int kKeys = 256, kRanks = 16, kChannels = 128;  // that lie in shared memory at a time
constexpr float kLog2e = 1.44269504f, kLayerNormEpsilon = 1e-6f;

template <class W>
struct LowrankProblem {
  Rows h;
  WeightMatrix<W> query_down, value_up;
  const float *keys, *values;
  int width, heads, d, memory, rank;
  float gate;
  bool wide;   // h may be touched 16 bytes at a time
  bool whole;  // one run of keys, ranks and channels is all
};

struct Shared {
  float *keys, *values;  // [kRanks][kKeys]
  float* value_up;       // [kRanks][kChannels]
  float *a, *mixed;      // of this warp: [rank, padded to kRanks][kTokens]
};

__host__ __device__ constexpr int padded(int rank) { return (rank + kRanks - 1) / kRanks * kRanks; }
constexpr int kOperandFloats = kRanks * (2 * kKeys + kChannels);

/// A run of keys or values, [memory, rank] from (first, rank_first) on, turned over; zeros where there is nothing.
__device__ __forceinline__ void load_memory(const float* from, int memory, int rank, int first, int rank_first,
                                            float* to) {
  for (int m = static_cast<int>(threadIdx.x); m < kKeys; m += kThreads)
#pragma unroll
    for (int i = 0; i < kRanks; i++)
      to[i * kKeys + m] = first + m < memory && rank_first + i < rank
                              ? __ldg(from + static_cast<int64_t>(first + m) * rank + rank_first + i)
                              : 0.0f;
}

template <class W>
__device__ __forceinline__ void load_value_up(const LowrankProblem<W>& p, int head, int first, int rank_first,
                                              float* to) {
  for (int c = static_cast<int>(threadIdx.x); c < kChannels; c += kThreads)
#pragma unroll
    for (int i = 0; i < kRanks; i++)
      to[i * kChannels + c] = first + c < p.d && rank_first + i < p.rank
                                  ? p.value_up.at(static_cast<int64_t>(head) * p.d + first + c, rank_first + i)
                                  : 0.0f;
}

__device__ __forceinline__ void read_4(const float* from, float (&to)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

__device__ __forceinline__ float sum_of_lanes(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
  return v;
}
__device__ __forceinline__ float largest_of_lanes(float v) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
  return v;
}

/// a = log2(e) down_q(LN(h)) of a warp's tokens, to shared memory.
template <class W>
__device__ __forceinline__ void project_down(const LowrankProblem<W>& p, float* const (&h)[kTokens], int lane,
                                             float* a) {
  float mean[kTokens] = {};
#pragma unroll 4
  for (int c = lane; c < p.width; c += 32)
#pragma unroll
    for (int t = 0; t < kTokens; t++) mean[t] += h[t][c];
#pragma unroll
  for (int t = 0; t < kTokens; t++) mean[t] = sum_of_lanes(mean[t]) / static_cast<float>(p.width);

  for (int first = 0; first < p.rank; first += kRanks) {
    float sums[kRanks * kTokens] = {}, squares[kTokens] = {};
    for (int c = lane; c < p.width; c += 32) {
      float x[kTokens];
#pragma unroll
      for (int t = 0; t < kTokens; t++) {
        x[t] = h[t][c] - mean[t];
        squares[t] = fmaf(x[t], x[t], squares[t]);
      }
#pragma unroll
      for (int i = 0; i < kRanks; i++) {
        const float w = p.query_down.at(min(first + i, p.rank - 1), c);
#pragma unroll
        for (int t = 0; t < kTokens; t++) sums[i * kTokens + t] = fmaf(x[t], w, sums[i * kTokens + t]);
      }
    }
    float inverse[kTokens];
#pragma unroll
    for (int t = 0; t < kTokens; t++)
      inverse[t] = kLog2e / sqrtf(sum_of_lanes(squares[t]) / static_cast<float>(p.width) + kLayerNormEpsilon);
    sum_over_warp(sums, lane);
    const bool later = lane % 2 != 0;  // this lane is left with tokens 2 and 3 of rank lane / 2
    *reinterpret_cast<float2*>(a + first * kTokens + 2 * lane) =
        make_float2(sums[0] * (later ? inverse[2] : inverse[0]), sums[1] * (later ? inverse[3] : inverse[1]));
  }
  __syncwarp();
}

/// logits[t][k] += a K^T over one run of ranks; this lane's keys are 4 lane + (0..3) and 128 more.
__device__ __forceinline__ void multiply_keys(const float* a, const float* keys, int lane,
                                              float (&logits)[kTokens][8]) {
#pragma unroll 4
  for (int i = 0; i < kRanks; i++) {
    float x[4], k[2][4];
    read_4(a + i * kTokens, x);
    read_4(keys + i * kKeys + lane * 4, k[0]);
    read_4(keys + i * kKeys + kKeys / 2 + lane * 4, k[1]);
#pragma unroll
    for (int t = 0; t < kTokens; t++)
#pragma unroll
      for (int e = 0; e < 8; e++) logits[t][e] = fmaf(x[t], k[e / 4][e % 4], logits[t][e]);
  }
}

/// Streamed softmax of one run of keys: logits become 2^(logit - maximum); returns what earlier sums shrink by.
__device__ __forceinline__ void soften(int keys_left, int lane, float (&logits)[kTokens][8], float (&maximum)[kTokens],
                                       float (&sum)[kTokens], float (&shrink)[kTokens]) {
#pragma unroll
  for (int t = 0; t < kTokens; t++) {
    float now = maximum[t];
#pragma unroll
    for (int e = 0; e < 8; e++) {
      if (e / 4 * (kKeys / 2) + lane * 4 + e % 4 >= keys_left) logits[t][e] = -INFINITY;
      now = fmaxf(now, logits[t][e]);
    }
    now = largest_of_lanes(now);
    shrink[t] = fast_exp2(maximum[t] - now);
    maximum[t] = now;
    sum[t] *= shrink[t];
#pragma unroll
    for (int e = 0; e < 8; e++) {
      logits[t][e] = fast_exp2(logits[t][e] - now);
      sum[t] += logits[t][e];
    }
  }
}

/// mixed = shrink mixed + P V over one run of keys and ranks.
__device__ __forceinline__ void mix_values(const float (&p)[kTokens][8], const float* values, int lane,
                                           const float (&shrink)[kTokens], bool first_keys, float* mixed) {
  float sums[kRanks * kTokens];
#pragma unroll
  for (int i = 0; i < kRanks; i++) {
    float v[2][4];
    read_4(values + i * kKeys + lane * 4, v[0]);
    read_4(values + i * kKeys + kKeys / 2 + lane * 4, v[1]);
#pragma unroll
    for (int t = 0; t < kTokens; t++) {
      float sum = 0;
#pragma unroll
      for (int e = 0; e < 8; e++) sum = fmaf(p[t][e], v[e / 4][e % 4], sum);
      sums[i * kTokens + t] = sum;
    }
  }
  sum_over_warp(sums, lane);
  const bool later = lane % 2 != 0;
  float2* const to = reinterpret_cast<float2*>(mixed + 2 * lane);
  float2 before = make_float2(0, 0);
  if (!first_keys) before = *to;
  *to = make_float2(fmaf(before.x, later ? shrink[2] : shrink[0], sums[0]),
                    fmaf(before.y, later ? shrink[3] : shrink[1], sums[1]));
}

/// change[t][e] += U_v mixed over one run of ranks; this lane's channels are 4 lane + (0..3).
__device__ __forceinline__ void project_up(const float* mixed, const float* value_up, int lane,
                                           float (&change)[kTokens][4]) {
#pragma unroll
  for (int i = 0; i < kRanks; i++) {
    float x[4], u[4];
    read_4(mixed + i * kTokens, x);
    read_4(value_up + i * kChannels + lane * 4, u);
#pragma unroll
    for (int t = 0; t < kTokens; t++)
#pragma unroll
      for (int e = 0; e < 4; e++) change[t][e] = fmaf(x[t], u[e], change[t][e]);
  }
}

/// h[column ..] += factor * change of one token, `count` of this lane's channels.
__device__ __forceinline__ void add(float* h, float factor, const float (&change)[4], int count, bool wide) {
  if (wide && count >= 4) {
    float before[4];
    read_4(h, before);
    *reinterpret_cast<float4*>(h) = make_float4(fmaf(factor, change[0], before[0]), fmaf(factor, change[1], before[1]),
                                                fmaf(factor, change[2], before[2]), fmaf(factor, change[3], before[3]));
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; e++)
    if (e < count) h[e] = fmaf(factor, change[e], h[e]);
}

template <class W>
__global__ void __launch_bounds__(kThreads) lowrank_cross_attention_kernel(LowrankProblem<W> p) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  float* const memory = shared_memory<float>();
  float* const own = memory + kOperandFloats + warp * 2 * padded(p.rank) * kTokens;
  const Shared s = {memory, memory + kRanks * kKeys, memory + 2 * kRanks * kKeys, own, own + padded(p.rank) * kTokens};

  // Tokens beyond the end are computed as the last one and not stored.
  const int first_token = (static_cast<int>(blockIdx.x) * kWarps + warp) * kTokens;
  float* h[kTokens];
#pragma unroll
  for (int t = 0; t < kTokens; t++) h[t] = p.h.template row<float>(min(first_token + t, p.h.count - 1));
  project_down(p, h, lane, s.a);

  for (int head = 0; head < p.heads; head++) {
    const float* const keys = p.keys + static_cast<int64_t>(head) * p.memory * p.rank;
    if (p.whole) {
      __syncthreads();  // everyone has left the last head's operands
      load_memory(keys, p.memory, p.rank, 0, 0, s.keys);
      load_value_up(p, head, 0, 0, s.value_up);
      if (head == 0) load_memory(p.values, p.memory, p.rank, 0, 0, s.values);
      __syncthreads();
    }
    float maximum[kTokens], sum[kTokens] = {};
#pragma unroll
    for (int t = 0; t < kTokens; t++) maximum[t] = -INFINITY;
    for (int m = 0; m < p.memory; m += kKeys) {
      float logits[kTokens][8] = {}, shrink[kTokens];
      for (int i = 0; i < p.rank; i += kRanks) {
        if (!p.whole) {
          __syncthreads();
          load_memory(keys, p.memory, p.rank, m, i, s.keys);
          __syncthreads();
        }
        multiply_keys(s.a + i * kTokens, s.keys, lane, logits);
      }
      soften(p.memory - m, lane, logits, maximum, sum, shrink);
      for (int i = 0; i < p.rank; i += kRanks) {
        if (!p.whole) {
          __syncthreads();
          load_memory(p.values, p.memory, p.rank, m, i, s.values);
          __syncthreads();
        }
        mix_values(logits, s.values, lane, shrink, m == 0, s.mixed + i * kTokens);
      }
    }
    __syncwarp();
    float factor[kTokens];
#pragma unroll
    for (int t = 0; t < kTokens; t++) factor[t] = p.gate / sum_of_lanes(sum[t]);
    for (int c = 0; c < p.d; c += kChannels) {
      float change[kTokens][4] = {};
      for (int i = 0; i < p.rank; i += kRanks) {
        if (!p.whole) {
          __syncthreads();
          load_value_up(p, head, c, i, s.value_up);
          __syncthreads();
        }
        project_up(s.mixed + i * kTokens, s.value_up, lane, change);
      }
#pragma unroll
      for (int t = 0; t < kTokens; t++)
        if (first_token + t < p.h.count)
          add(h[t] + head * p.d + c + lane * 4, factor[t], change[t], p.d - c - lane * 4, p.wide);
    }
    __syncwarp();  // everyone has read mixed before the next head writes it
  }
}

template <class W>
void run(Context& ctx, const op::LowrankCrossAttentionArgs& a) {
  LowrankProblem<W> p = {};
  p.h = Rows::of(a.h);
  p.query_down = WeightMatrix<W>::of(a.query_down);
  p.value_up = WeightMatrix<W>::of(a.value_up);
  p.keys = a.keys.as<const float>();
  p.values = a.values.as<const float>();
  p.width = static_cast<int>(a.h.last());
  p.heads = static_cast<int>(a.keys.shape[0]);
  p.d = p.width / p.heads;
  p.memory = static_cast<int>(a.keys.shape[1]);
  p.rank = static_cast<int>(a.keys.shape[2]);
  p.gate = a.gate;
  p.wide = p.d % 4 == 0 && p.h.aligned(16, 4);
  p.whole = p.memory <= kKeys && p.rank <= kRanks && p.d <= kChannels;
  const int blocks = (p.h.count + kWarps * kTokens - 1) / (kWarps * kTokens);
  launch(ctx, lowrank_cross_attention_kernel<W>, dim3(blocks), dim3(kThreads),
         4 * (kOperandFloats + kWarps * 2 * padded(p.rank) * kTokens), p);
}

}  // namespace

void lowrank_cross_attention(Context& ctx, const op::LowrankCrossAttentionArgs& a) {
  if (a.compute == DType::BF16 && lowrank_cross_attention_mma(ctx, a)) return;
  if (ctx.planning()) return;
  if (a.query_down.dtype == DType::BF16 && a.value_up.dtype == DType::BF16)
    run<__nv_bfloat16>(ctx, a);
  else if (a.query_down.dtype == DType::F32 && a.value_up.dtype == DType::F32)
    run<float>(ctx, a);
  else
    run<void>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
