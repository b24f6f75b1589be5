// attention in f32, exact: out = softmax(scale q k^T) v, causal or not, by f32 fused multiply-adds; also the way for
// bf16 tensors that the tensor cores cannot take (any head size, any alignment).
//
// Work split: a block of 16 x 16 threads makes 64 query rows of one head and up to 128 channels of them (a larger
// head size takes several blocks, which compute the scores again). Keys go by in blocks of 64, none of which spans
// two segments. A thread makes 4 x 4 scores, the head size going by in steps of 32 through shared memory; the 16
// threads of a row stream its softmax (m, p = 2^(c s - c m), sums, out as in attention_mma.cu); p goes to shared
// memory and a thread adds 4 rows x 8 channels of p v. Every sum has one order, whatever the rows beside it. Must
// move: q, k, v and out once. Limit: the f32 rate (4 operations per query, key and channel).
#include "cuda/attention/attention.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kRows = 64, kKeys = 64, kChannels = 128;
constexpr int kStep = 32;           // channels of q and k, keys of v, that lie in shared memory at a time
constexpr int kStride = kRows + 4;  // floats: the 4 keep transposed stores and 16-byte reads apart

struct Shared {
  float *q, *k;  // [kStep][kStride], channel outermost
  float* p;      // [kKeys][kStride], key outermost
  float* v;      // [kStep][kChannels]
};
constexpr int kSharedBytes = 4 * (2 * kStep * kStride + kKeys * kStride + kStep * kChannels);

__device__ __forceinline__ void read_4(const float* from, float (&to)[4]) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

/// Channels [first, first + kStep) of a block's tokens, transposed; zeros where there is nothing.
template <class T>
__device__ __forceinline__ void load_transposed(const AttentionRun& run, const TokenBlock& tokens, Head head, int first,
                                                int d, float* to) {
  static_assert(kRows == kKeys && kThreads / kRows * 8 == kStep);
  const int row = static_cast<int>(threadIdx.x) % kRows, mine = static_cast<int>(threadIdx.x) / kRows * 8;
  const T* const from =
      static_cast<const T*>(run.data) + run.at(head) + (tokens.first + row) * run.token_stride + first + mine;
#pragma unroll
  for (int i = 0; i < 8; i++)
    to[(mine + i) * kStride + row] = row < tokens.count && first + mine + i < d ? to_float(from[i]) : 0.0f;
}

/// Keys [first, first + kStep) of a block of v, kChannels channels from `channel` on.
template <class T>
__device__ __forceinline__ void load_values(const AttentionRun& run, const TokenBlock& tokens, Head head, int first,
                                            int channel, int d, float* to) {
  const int column = static_cast<int>(threadIdx.x) % kChannels;
  const T* const from = static_cast<const T*>(run.data) + run.at(head) + channel + column;
#pragma unroll 4
  for (int key = static_cast<int>(threadIdx.x) / kChannels; key < kStep; key += kThreads / kChannels)
    to[key * kChannels + column] = first + key < tokens.count && channel + column < d
                                       ? to_float(from[(tokens.first + first + key) * run.token_stride])
                                       : 0.0f;
}

/// A block's scores: 4 rows x 4 keys of this thread.
template <class T>
__device__ __forceinline__ void multiply_keys(const AttentionProblem& p, const TokenBlock& rows, const TokenBlock& keys,
                                              Head head, const Shared& s, float (&scores)[4][4]) {
  const int row = static_cast<int>(threadIdx.x) / 16 * 4, key = static_cast<int>(threadIdx.x) % 16 * 4;
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) scores[i][j] = 0;
  for (int first = 0; first < p.d; first += kStep) {
    __syncthreads();  // everyone has left q and k
    load_transposed<T>(p.q[rows.segment], rows, head, first, p.d, s.q);
    load_transposed<T>(p.k[keys.segment], keys, p.key_head(head), first, p.d, s.k);
    __syncthreads();
#pragma unroll 8
    for (int c = 0; c < kStep; c++) {
      float a[4], b[4];
      read_4(s.q + c * kStride + row, a);
      read_4(s.k + c * kStride + key, b);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) scores[i][j] = fmaf(a[i], b[j], scores[i][j]);
    }
  }
#pragma unroll
  for (int j = 0; j < 4; j++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (key + j >= keys.count || (p.causal && keys.first + key + j > rows.first + row + i)) scores[i][j] = -INFINITY;
}

template <class T>
__global__ void __launch_bounds__(kThreads) attention_fma_kernel(AttentionProblem p, int key_blocks) {
  float* const memory = shared_memory<float>();
  const Shared s = {memory, memory + kStep * kStride, memory + 2 * kStep * kStride,
                    memory + 2 * kStep * kStride + kKeys * kStride};
  const int row = static_cast<int>(threadIdx.x) / 16 * 4, lane = static_cast<int>(threadIdx.x) % 16;
  const Head head = p.head(static_cast<int>(blockIdx.y));
  const int channel = static_cast<int>(blockIdx.z) * kChannels;
  const TokenBlock rows = TokenBlock::at(p.queries, static_cast<int>(blockIdx.x), kRows);

  float out[4][8] = {}, sum[4] = {}, maximum[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  key_blocks = seen_blocks(p, rows.first + rows.count - 1, kKeys, key_blocks);
  for (int block = 0; block < key_blocks; block++) {
    const TokenBlock keys = TokenBlock::at(p.keys, block, kKeys);
    float scores[4][4];
    multiply_keys<T>(p, rows, keys, head, s, scores);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float now = fmaxf(maximum[i], fmaxf(fmaxf(scores[i][0], scores[i][1]), fmaxf(scores[i][2], scores[i][3])));
#pragma unroll
      for (int step = 8; step > 0; step /= 2) now = fmaxf(now, __shfl_xor_sync(0xffffffffu, now, step));
      const float shrink = exp2f((maximum[i] - now) * p.scale);
      float total = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        scores[i][j] = exp2f((scores[i][j] - now) * p.scale);
        total += scores[i][j];
      }
      maximum[i] = now;
      sum[i] = sum[i] * shrink + total;
#pragma unroll
      for (int j = 0; j < 8; j++) out[i][j] *= shrink;
    }
    // The barriers of multiply_keys stand between the last reads of p and these stores.
#pragma unroll
    for (int j = 0; j < 4; j++)
      *reinterpret_cast<float4*>(s.p + (lane * 4 + j) * kStride + row) =
          make_float4(scores[0][j], scores[1][j], scores[2][j], scores[3][j]);

    for (int first = 0; first < keys.count; first += kStep) {
      __syncthreads();  // p is there; everyone has left v
      load_values<T>(p.v[keys.segment], keys, p.key_head(head), first, channel, p.d, s.v);
      __syncthreads();
#pragma unroll 4
      for (int key = 0; key < kStep; key++) {
        float a[4], b[2][4];
        read_4(s.p + (first + key) * kStride + row, a);
        read_4(s.v + key * kChannels + lane * 4, b[0]);
        read_4(s.v + key * kChannels + kChannels / 2 + lane * 4, b[1]);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
          for (int j = 0; j < 8; j++) out[i][j] = fmaf(a[i], b[j / 4][j % 4], out[i][j]);
      }
    }
  }

  const AttentionRun& run = p.out[rows.segment];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float total = sum[i];
#pragma unroll
    for (int step = 8; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
    const float inverse = 1.0f / total;
    const int64_t at = run.at(head) + (rows.first + row + i) * run.token_stride;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      const int column = channel + j / 4 * (kChannels / 2) + lane * 4 + j % 4;
      if (row + i >= rows.count || column >= p.d) continue;
      if (p.out_type[rows.segment] == DType::BF16)
        static_cast<__nv_bfloat16*>(run.data)[at + column] = to_bf16(out[i][j] * inverse);
      else
        static_cast<float*>(run.data)[at + column] = out[i][j] * inverse;
    }
  }
}

}  // namespace

void attention_fma(Context& ctx, const AttentionProblem& p, DType type) {
  const dim3 grid(TokenBlock::blocks(p.queries, kRows), p.batch * p.heads, (p.d + kChannels - 1) / kChannels);
  const int key_blocks = TokenBlock::blocks(p.keys, kKeys);
  if (type == DType::BF16)
    launch(ctx, attention_fma_kernel<__nv_bfloat16>, grid, dim3(kThreads), kSharedBytes, p, key_blocks);
  else
    launch(ctx, attention_fma_kernel<float>, grid, dim3(kThreads), kSharedBytes, p, key_blocks);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
