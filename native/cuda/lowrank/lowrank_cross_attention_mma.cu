// lowrank_cross_attention on tensor cores, bf16 (mma.sync, sm_80 and later):      model-specification.md 5, paper Eq. 7
//   h += gate * concat_j( U_vj softmax(a K_j^T) V ),  a = down_q(LN(h))
// Operands are rounded to bf16; LN, softmax, all sums and h stay f32. r is padded with zeros to 16, 32 or 64 ranks.
//
// Work split, two launches. a: lowrank_project_down_mma.cu. Then a block takes one head and 128 tokens, a warp 16 of
// them. K_j, V and U_vj lie in shared memory, 256 keys at a time, rows XOR-swizzled in pieces of 16 bytes so that
// ldmatrix meets no bank conflicts. Keys go by in blocks of 64; scores, p and P V stay in registers: what a product
// leaves is the next one's left operand. Rows of U_vj are permuted so that a thread ends up with 4 neighbouring
// channels of h. h is asked for when a block begins, and read and written at its end.
//
// Must move: h in and out, 8 D bytes a token; klein-4B, 2 x 2,048 image tokens: 100 MB, 24 us of an H200's 4.2 TB/s.
// It is read twice, and the second time from its end backwards, so that what the L2 cache still holds of the first
// reading, some 20 to 30 of 50 MB, does not come from memory again: 120 to 130 MB in all. Through the L2 cache also
// 25 MB of W and, at 36 KB a block, 28 MB of K, V and U. Against that, all of it overlapped by 24 warps a
// multiprocessor: 2.4 GFLOP (4 us of mma.sync), 25 million exponentials (7 us at 16 a clock and multiprocessor) and
// about 5 us of other instructions. Limit: copy bandwidth.
#include "cuda/attention/attention.cuh"
#include "cuda/common/ptx.cuh"
#include "cuda/common/rows.cuh"
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"
#include "cuda/lowrank/lowrank.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kTile = kLowrankTile;    // tokens of a warp's products
constexpr int kMostShared = 99 << 10;  // bytes that a block may have on every GPU
constexpr float kLog2e = 1.44269504f;

constexpr int kKeys = 64, kHeldKeys = 256;            // of a block, and in shared memory
constexpr int kGroups = 4, kChannels = 16 * kGroups;  // channels of h that a warp reads before it writes them

struct UpProblem {
  Rows h;
  const bf16* a;
  const float *keys, *values;
  WeightMatrix<void> value_up;
  bool wide_memory, wide_up;  // 8 neighbours of keys and values, and of value_up, may be read at once
  int d, memory, rank, heads, blocks;
  float gate;
};

__host__ __device__ constexpr int to_16(int n) { return (n + 15) / 16 * 16; }
__host__ __device__ constexpr int up_shared_bytes(int rank, int d) { return (2 * kHeldKeys + to_16(d)) * rank * 2; }

/// Element of piece `chunk` (16 bytes) of `row` in a swizzled tile: pieces of the same column lie in different banks
/// for 8 consecutive rows. Two pieces further on, n times, is swizzled(row, chunk) ^ 16 n for chunk 0 or 1.
template <int kRank>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  constexpr int kPieces = kRank / 8;
  return row * kRank + (chunk ^ row / (8 / kPieces) % kPieces) * 8;
}

/// Ranks first .. first + 7 of row `row` of keys or values; zeros where there is nothing.
__device__ __forceinline__ Floats<8> memory_piece(const UpProblem& p, const float* from, int row, int first) {
  Floats<8> v = {};
  if (row >= p.memory) return v;
  from += static_cast<int64_t>(row) * p.rank + first;
  if (p.wide_memory) return first < p.rank ? load<8>(from) : v;
#pragma unroll
  for (int e = 0; e < 8; e++)
    if (first + e < p.rank) v[e] = __ldg(from + e);
  return v;
}
/// `count` keys and values from `first` on to shared memory as bf16.
template <int kRank>
__device__ __forceinline__ void fill_memory(const UpProblem& p, int head, int first, int count, bf16* keys,
                                            bf16* values) {
  constexpr int kPieces = kRank / 8;
  const float* const from = p.keys + static_cast<int64_t>(head) * p.memory * p.rank;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < count * kPieces; i += kThreads) {
    const int row = i / kPieces, chunk = i % kPieces, at = swizzled<kRank>(row, chunk);
    const Floats<8> key = memory_piece(p, from, first + row, chunk * 8);
    const Floats<8> value = memory_piece(p, p.values, first + row, chunk * 8);
    store<8>(keys + at, key);
    store<8>(values + at, value);
  }
}
/// U_v of a head, zeros up to a multiple of 16 channels. Of every 16, a thread is to get four neighbours, two from
/// either product of 8: channels 4 i, 4 i + 1 are rows 2 i, 2 i + 1, and the next two are 8 rows further on.
template <int kRank>
__device__ __forceinline__ void fill_up(const UpProblem& p, int head, bf16* to) {
  constexpr int kPieces = kRank / 8;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < to_16(p.d) * kPieces; i += kThreads) {
    const int channel = i / kPieces, first = i % kPieces * 8;
    const int64_t row = static_cast<int64_t>(head) * p.d + channel;
    Floats<8> v = {};
    if (channel < p.d && p.wide_up) {
      if (first < p.rank) v = load<8>(static_cast<const bf16*>(p.value_up.data) + row * p.value_up.stride + first);
    } else if (channel < p.d) {
#pragma unroll
      for (int e = 0; e < 8; e++)
        if (first + e < p.rank) v[e] = p.value_up.at(row, first + e);
    }
    const int place = channel / 16 * 16 + channel / 2 % 2 * 8 + channel % 16 / 4 * 2 + channel % 2;
    store<8>(to + swizzled<kRank>(place, first / 8), v);
  }
}

template <int kRank>
__device__ __forceinline__ void score_keys(const uint32_t (&a)[kRank / 16][4], const bf16* keys, int lane,
                                           float (&scores)[kKeys / 8][4]) {
  const int at = swizzled<kRank>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int j = 0; j < kKeys / 16; j++) {
#pragma unroll
    for (int e = 0; e < 4; e++) scores[2 * j][e] = scores[2 * j + 1][e] = 0;
#pragma unroll
    for (int step = 0; step < kRank / 16; step++) {
      uint32_t b[4];
      ldmatrix_x4(b, keys + (at ^ 16 * step) + j * 16 * kRank);
      mma_m16n8k16_bf16(scores[2 * j], a[step], {b[0], b[1]});
      mma_m16n8k16_bf16(scores[2 * j + 1], a[step], {b[2], b[3]});
    }
  }
}

template <int kRank>
__device__ __forceinline__ void mix_values(const float (&p)[kKeys / 8][4], const bf16* values, int lane,
                                           float (&mixed)[kRank / 8][4]) {
  const int at = swizzled<kRank>(lane % 16, lane / 16);
#pragma unroll
  for (int step = 0; step < kKeys / 16; step++) {
    uint32_t a[4];
    pack_keys(p, step, a);
#pragma unroll
    for (int j = 0; j < kRank / 16; j++) {
      uint32_t b[4];
      ldmatrix_x4_trans(b, values + (at ^ 16 * j) + step * 16 * kRank);
      mma_m16n8k16_bf16(mixed[2 * j], a, {b[0], b[1]});
      mma_m16n8k16_bf16(mixed[2 * j + 1], a, {b[2], b[3]});
    }
  }
}

/// h += U_v mixed for kChannels of a warp's tokens, from `channel` of the head on; rows[half] is null for one that
/// does not exist. All are read before the first is written: a read that waits for a write before it would cost a
/// latency each.
template <int kRank>
__device__ __forceinline__ void add_channels(const UpProblem& p, float* const (&rows)[2],
                                             const uint32_t (&mixed)[kRank / 16][4], const bf16* value_up, int channel,
                                             int lane) {
  const int at = swizzled<kRank>(lane % 8 + lane / 16 * 8, lane / 8 % 2), own = channel + lane % 4 * 4;
  Floats<4> h[kGroups][2];
#pragma unroll
  for (int g = 0; g < kGroups; g++)
#pragma unroll
    for (int half = 0; half < 2; half++)
      if (rows[half] != nullptr && own + 16 * g < p.d) h[g][half] = load<4>(rows[half] + own + 16 * g);
#pragma unroll
  for (int g = 0; g < kGroups; g++) {
    if (channel + 16 * g >= p.d) break;
    float change[2][4] = {};
#pragma unroll
    for (int step = 0; step < kRank / 16; step++) {
      uint32_t b[4];
      ldmatrix_x4(b, value_up + (at ^ 16 * step) + (channel + 16 * g) * kRank);
      mma_m16n8k16_bf16(change[0], mixed[step], {b[0], b[1]});
      mma_m16n8k16_bf16(change[1], mixed[step], {b[2], b[3]});
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
      if (rows[half] == nullptr || own + 16 * g >= p.d) continue;
#pragma unroll
      for (int e = 0; e < 4; e++) h[g][half][e] += change[e / 2][2 * half + e % 2];
      store<4>(rows[half] + own + 16 * g, h[g][half]);
    }
  }
}

template <int kRank>
__global__ void __launch_bounds__(kThreads, kRank == 16   ? 3
                                            : kRank == 32 ? 2
                                                          : 1) attend_kernel(UpProblem p) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int head = static_cast<int>(blockIdx.x) % p.heads;
  const int block = p.blocks - 1 - static_cast<int>(blockIdx.x) / p.heads;  // what was read last is still in the cache
  const int first = (block * kWarps + warp) * kTile, tokens = min(kTile, p.h.count - first);
  bf16* const keys = shared_memory<bf16>();
  bf16* const values = keys + kHeldKeys * kRank;
  bf16* const value_up = values + kHeldKeys * kRank;

  constexpr int kLine = 32;  // floats
  const int lines = (p.d + kLine - 1) / kLine;
  for (int i = lane; i < tokens * lines; i += 32)
    prefetch_l2(p.h.row<const float>(first + i / lines) + head * p.d + i % lines * kLine);

  fill_up<kRank>(p, head, value_up);
  uint32_t a[kRank / 16][4] = {};
  if (tokens > 0) {
    const bf16* const row = p.a + static_cast<int64_t>(first + lane / 4) * kRank + lane % 4 * 2;
#pragma unroll
    for (int step = 0; step < kRank / 16; step++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        a[step][i] = *reinterpret_cast<const uint32_t*>(row + i % 2 * 8 * kRank + step * 16 + i / 2 * 8);
  }
  float mixed[kRank / 8][4] = {}, maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  for (int key = 0; key < p.memory; key += kKeys) {
    const int held = key % kHeldKeys;
    if (held == 0) {
      const int count = (min(kHeldKeys, p.memory - key) + kKeys - 1) / kKeys * kKeys;
      if (key > 0) __syncthreads();  // everyone has left the keys and values before
      fill_memory<kRank>(p, head, key, count, keys, values);
      __syncthreads();
    }
    if (tokens <= 0) continue;
    float scores[kKeys / 8][4], shrink[2];
    score_keys<kRank>(a, keys + held * kRank, lane, scores);
    if (p.memory - key < kKeys) mask_keys(p.memory - key, lane, scores);
    soften_rows(kLog2e, scores, maximum, sum, shrink);
    scale_rows(shrink, mixed);
    mix_values<kRank>(scores, values + held * kRank, lane, mixed);
  }
  if (tokens <= 0) return;

  scale_rows({p.gate / sum_of_four_lanes(sum[0]), p.gate / sum_of_four_lanes(sum[1])}, mixed);
  uint32_t narrow[kRank / 16][4];
#pragma unroll
  for (int step = 0; step < kRank / 16; step++) pack_keys(mixed, step, narrow[step]);
  float* rows[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = lane / 4 + 8 * half;
    rows[half] = row < tokens ? p.h.row<float>(first + row) + head * p.d : nullptr;
  }
  for (int channel = 0; channel < p.d; channel += kChannels)
    add_channels<kRank>(p, rows, narrow, value_up, channel, lane);
}

template <int kRank>
void run(Context& ctx, const op::LowrankCrossAttentionArgs& a, bf16* down) {
  lowrank_project_down(ctx, a, kRank, down);
  UpProblem p = {};
  p.h = Rows::of(a.h);
  p.a = down;
  p.keys = a.keys.as<const float>();
  p.values = a.values.as<const float>();
  p.value_up = WeightMatrix<void>::of(a.value_up);
  p.heads = static_cast<int>(a.keys.shape[0]);
  p.memory = static_cast<int>(a.keys.shape[1]);
  p.rank = static_cast<int>(a.keys.shape[2]);
  p.d = static_cast<int>(a.h.last()) / p.heads;
  p.wide_memory = moves_by(8, {&a.keys, &a.values});
  p.wide_up = a.value_up.dtype == DType::BF16 && moves_by(8, {&a.value_up});
  p.blocks = (p.h.count + kWarps * kTile - 1) / (kWarps * kTile);
  p.gate = a.gate;
  launch(ctx, attend_kernel<kRank>, dim3(blocks_for(static_cast<int64_t>(p.blocks) * p.heads, 1)), dim3(kThreads),
         up_shared_bytes(kRank, p.d), p);
}

}  // namespace

bool lowrank_cross_attention_mma(Context& ctx, const op::LowrankCrossAttentionArgs& a) {
  const int64_t d = a.h.last() / a.keys.shape[0], rank = a.keys.shape[2];
  if (rank > 64 || d % 8 != 0 || d > kMostShared) return false;
  const int padded = rank <= 16 ? 16 : rank <= 32 ? 32 : 64;
  if (up_shared_bytes(padded, static_cast<int>(d)) > kMostShared) return false;
  Workspace::Frame frame(ctx.workspace);
  bf16* const down = static_cast<bf16*>(ctx.workspace.bytes((a.h.rows() + kTile - 1) / kTile * kTile * padded * 2));
  if (ctx.planning()) return true;
  if (!Rows::of(a.h).aligned(16, 4)) return false;
  padded == 16 ? run<16>(ctx, a, down) : padded == 32 ? run<32>(ctx, a, down) : run<64>(ctx, a, down);
  return true;
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
