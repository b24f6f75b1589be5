// The first half of lowrank_cross_attention on tensor cores, bf16 (mma.sync, sm_80 and later): a = down_q(LN(h))
//                                                                                 model-specification.md 5, paper Eq. 7
// Operands are rounded to bf16; LN and all sums stay f32. r is padded with zeros to 16, 32 or 64 ranks.
//
// Work split: a block takes 16 tokens, its warps every eighth run of 64 columns; h goes from memory straight into the
// registers of the left operand (K may be in any order, as long as W is in the same), the next run while this one is
// multiplied. Statistics come from the same reading: each warp takes from its columns a mean of its own, that of the
// first 64, so that a large mean cancels nothing, and a product with ones gives it sum_c W, by which it makes up for
// the difference once the block knows the row's mean.
//
// Must move: h once, 4 D bytes a token; klein-4B, 2 x 2,048 image tokens: 50 MB, and 25 MB of W through the L2 cache.
// Limit: reading memory.
#include "cuda/common/numbers.cuh"
#include "cuda/common/ptx.cuh"
#include "cuda/common/rows.cuh"
#include "cuda/common/vectors.cuh"
#include "cuda/lowrank/lowrank.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kWarps = 8, kThreads = 32 * kWarps, kTile = kLowrankTile;
constexpr float kLayerNormEpsilon = 1e-6f;
constexpr int kRun = 64, kChunks = kRun / 16;  // columns that a warp reads at once, 16 of them for one product

template <class W>
struct DownProblem {
  Rows h;
  WeightMatrix<W> weight;  // bf16: four neighbours may be read at once
  int width, rank;
  bf16* a;  // [tokens, up to the next kTile][kRank]
};

/// What a lane of a warp reads at once: 4 columns of every chunk in its two rows.
using Run = Floats<4>[kChunks][2];

__device__ __forceinline__ void load_run(const float* const (&rows)[2], int column, int width, Run& x) {
#pragma unroll
  for (int c = 0; c < kChunks; c++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      x[c][half] = {};
      if (column + 16 * c < width) x[c][half] = load<4>(rows[half] + column + 16 * c);
    }
}

/// Four neighbours of a row of W as bf16; zeros in a row that pads the rank.
template <class W>
__device__ __forceinline__ uint2 four_of(const DownProblem<W>& p, int row, int column) {
  if (row >= p.rank) return make_uint2(0, 0);
  const WeightMatrix<W>& w = p.weight;
  if constexpr (std::is_same_v<W, bf16>)
    return __ldg(reinterpret_cast<const uint2*>(static_cast<const bf16*>(w.data) + row * w.stride + column));
  else
    return make_uint2(pack_bf16(w.at(row, column), w.at(row, column + 1)),
                      pack_bf16(w.at(row, column + 2), w.at(row, column + 3)));
}

/// One warp's columns of its two rows: sums of what differs from `shift`, and products with W.
template <int kRank>
struct Part {
  int columns = 0;
  float shift[2] = {}, sum[2] = {}, squares[2] = {};
  float product[kRank / 8][4] = {}, ones[kRank / 8][4] = {};  // W (h - shift), and the sum of W's columns in every row

  /// The mean of the first run that this warp reads.
  __device__ __forceinline__ void take_shift(const Run& x, int count) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float total = 0;
#pragma unroll
      for (int c = 0; c < kChunks; c++)
#pragma unroll
        for (int e = 0; e < 4; e++) total += x[c][half][e];
      shift[half] = sum_of_four_lanes(total) / static_cast<float>(count);
    }
  }

  template <class W>
  __device__ __forceinline__ void add(const DownProblem<W>& p, Run& x, int column, int group) {
#pragma unroll
    for (int c = 0; c < kChunks; c++) {
      const bool here = column + 16 * c < p.width;
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float& v = x[c][half][e];
          v = here ? v - shift[half] : 0.0f;
          sum[half] += v;
          squares[half] = fmaf(v, v, squares[half]);
        }
      const uint32_t a[4] = {pack_bf16(x[c][0][0], x[c][0][1]), pack_bf16(x[c][1][0], x[c][1][1]),
                             pack_bf16(x[c][0][2], x[c][0][3]), pack_bf16(x[c][1][2], x[c][1][3])};
      constexpr uint32_t kOnes = 0x3f803f80;
#pragma unroll
      for (int n = 0; n < kRank / 8; n++) {
        const uint2 w = here ? four_of(p, n * 8 + group, column + 16 * c) : make_uint2(0, 0);
        mma_m16n8k16_bf16(product[n], a, {w.x, w.y});
        mma_m16n8k16_bf16(ones[n], {kOnes, kOnes, kOnes, kOnes}, {w.x, w.y});
      }
    }
  }
};

/// A warp's columns of one row: how many, their mean, and the sum of squares about it.
struct Moments {
  float columns, mean, squares;
};

template <int kRank>
struct DownShared {
  static constexpr int kStride = kRank + 8;  // 8 rows' pairs in different banks
  Moments moments[kWarps][kTile];
  float product[kWarps][kTile][kStride];
};

/// Mean and 1 / deviation of a row, of all warps' columns.
__device__ __forceinline__ void join(const Moments (&moments)[kWarps][kTile], int row, int width, float& mean,
                                     float& inverse) {
  float total = 0, squares = 0;
#pragma unroll
  for (int w = 0; w < kWarps; w++) total = fmaf(moments[w][row].columns, moments[w][row].mean, total);
  mean = total / static_cast<float>(width);
#pragma unroll
  for (int w = 0; w < kWarps; w++) {
    const float away = moments[w][row].mean - mean;
    squares += moments[w][row].squares + moments[w][row].columns * away * away;
  }
  inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + kLayerNormEpsilon);
}

template <class W, int kRank>
__global__ void __launch_bounds__(kThreads, kRank == 16 ? 2 : 1) project_down_kernel(DownProblem<W> p) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32, group = lane / 4;
  DownShared<kRank>& s = *shared_memory<DownShared<kRank>>();

  // Tokens beyond the end are computed as the last one; nobody asks for them.
  const int token = static_cast<int>(blockIdx.x) * kTile + group;
  const float* const rows[2] = {p.h.template row<const float>(min(token, p.h.count - 1)),
                                p.h.template row<const float>(min(token + 8, p.h.count - 1))};
  Part<kRank> part;
  Run x;
  const int four = lane % 4 * 4;
  load_run(rows, warp * kRun + four, p.width, x);
  for (int first = warp * kRun; first < p.width; first += kWarps * kRun) {
    Run next;
    load_run(rows, first + kWarps * kRun + four, p.width, next);
    const int count = min(kRun, p.width - first);
    if (part.columns == 0) part.take_shift(x, count);
    part.columns += count;
    part.add(p, x, first + four, group);
#pragma unroll
    for (int c = 0; c < kChunks; c++)
#pragma unroll
      for (int half = 0; half < 2; half++) x[c][half] = next[c][half];
  }

#pragma unroll
  for (int half = 0; half < 2; half++) {
    const float columns = static_cast<float>(part.columns), sum = sum_of_four_lanes(part.sum[half]);
    const float squares = sum_of_four_lanes(part.squares[half]);
    const float mean = part.columns == 0 ? 0.0f : sum / columns;
    if (lane % 4 == 0)
      s.moments[warp][group + 8 * half] = {columns, part.shift[half] + mean, fmaf(-sum, mean, squares)};
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float mean, inverse;
    join(s.moments, group + 8 * half, p.width, mean, inverse);
    const float away = part.shift[half] - mean;
#pragma unroll
    for (int n = 0; n < kRank / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        s.product[warp][group + 8 * half][n * 8 + lane % 4 * 2 + e] =
            fmaf(away, part.ones[n][2 * half + e], part.product[n][2 * half + e]) * inverse;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kRank; i += kThreads) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; w++) sum += s.product[w][i / kRank][i % kRank];
    p.a[static_cast<int64_t>(blockIdx.x) * kTile * kRank + i] = to_bf16(sum);
  }
}

bool aligned(const Tensor& t, int bytes) {
  return reinterpret_cast<uintptr_t>(t.data) % bytes == 0 && t.stride[0] * dtype_bytes(t.dtype) % bytes == 0;
}

template <class W, int kRank>
void run(Context& ctx, const op::LowrankCrossAttentionArgs& a, bf16* to) {
  const Rows h = Rows::of(a.h);
  const DownProblem<W> p = {h, WeightMatrix<W>::of(a.query_down), static_cast<int>(a.h.last()),
                            static_cast<int>(a.keys.shape[2]), to};
  launch(ctx, project_down_kernel<W, kRank>, dim3(blocks_for(h.count, kTile)), dim3(kThreads),
         sizeof(DownShared<kRank>), p);
}

template <int kRank>
void run(Context& ctx, const op::LowrankCrossAttentionArgs& a, bf16* to) {
  if (a.query_down.dtype == DType::BF16 && aligned(a.query_down, 8))
    run<bf16, kRank>(ctx, a, to);
  else
    run<void, kRank>(ctx, a, to);
}

}  // namespace

void lowrank_project_down(Context& ctx, const op::LowrankCrossAttentionArgs& a, int ranks, bf16* to) {
  ranks == 16 ? run<16>(ctx, a, to) : ranks == 32 ? run<32>(ctx, a, to) : run<64>(ctx, a, to);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
