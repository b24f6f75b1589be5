// conv2d in bf16 on tensor cores: implicit GEMM, m16n8k16, f32 sums.
//
// Work split: a block makes a tile of M pixels x N channels, a warp 64 x 64 of it (32 x 32 in small tiles). K goes by
// in steps of 4 chunks (32 channels); kStages steps are in flight as asynchronous copies straight to shared memory,
// where padding and what lies past an end become zeros. Rows are 64 bytes there, chunk c of row r at place c ^ (r / 2
// % 4): both the copies and ldmatrix touch all banks. The largest tile that still gives every multiprocessor a block
// is taken; sums run over K in the same order in each, so the tile does not show in the result. Must move: x,
// weights, residual and out once; from the L2 cache to the multiprocessors M and N rows of K for every tile (256 x
// 128: 85 operations a byte). Limit: the mma.sync rate, 2 pixels taps C O operations (VAE decoder, 128 channels at
// 512 x 512: 77 GFLOP, 270 MB).
#include "cuda/common/ptx.cuh"
#include "cuda/conv2d/conv2d.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kStages = 4, kStep = 4, kRowBytes = kStep * 16;

template <int kM, int kN, int kWarpM, int kWarpN>
struct Tile {
  static constexpr int M = kM, N = kN, warp_m = kWarpM, warp_n = kWarpN;
  static constexpr int warps_n = N / warp_n, threads = 32 * (M / warp_m) * warps_n;
  static constexpr int rows_at_once = threads / kStep;  // a thread copies one chunk of each of these
  static constexpr int x_copies = M / rows_at_once, weight_copies = (N + rows_at_once - 1) / rows_at_once;
  static constexpr int stage_bytes = (M + N) * kRowBytes, shared_bytes = kStages * stage_bytes;
  static_assert(M % rows_at_once == 0 && warp_m % 16 == 0 && warp_n % 16 == 0);
};

/// Offset of chunk `chunk` of row `row` in a stage.
__device__ __forceinline__ int swizzled(int row, int chunk) {
  return row * kRowBytes + ((chunk ^ (row >> 1 & 3)) << 4);
}

/// This thread's copies: one chunk column of some pixels and some output channels.
template <class T>
struct Copier {
  const ConvProblem& p;
  const int slice, column, row;
  TapCursor k;
  Window windows[T::x_copies];
  int64_t weights[T::weight_copies];  // chunks from the start to the channel's row, or -1

  template <int... I>
  __device__ __forceinline__ Copier(const ConvProblem& p, int tile_m, int tile_n, std::integer_sequence<int, I...>)
      : p(p),
        slice(p.slice(kStep)),
        column(static_cast<int>(threadIdx.x) % kStep),
        row(static_cast<int>(threadIdx.x) / kStep),
        k(p, column, slice),
        windows{Window(p, tile_m * T::M + row + I * T::rows_at_once)...} {
#pragma unroll
    for (int i = 0; i < T::weight_copies; i++) {
      const int o = tile_n * T::N + row + i * T::rows_at_once;
      const bool exists = row + i * T::rows_at_once < T::N && o < p.channels;
      weights[i] = exists ? static_cast<int64_t>(o) * p.taps * p.chunks : -1;
    }
  }
  /// Starts the copies of the next step.
  __device__ __forceinline__ void copy(char* stage) {
    const uint4 *x = static_cast<const uint4*>(p.x), *weight = static_cast<const uint4*>(p.weight);
#pragma unroll
    for (int i = 0; i < T::x_copies; i++) {
      const int64_t from = windows[i].at(p, k);
      cp_async_16(stage + swizzled(row + i * T::rows_at_once, column), x + (from < 0 ? 0 : from), from >= 0);
    }
    const bool exists = k.exists(p);
#pragma unroll
    for (int i = 0; i < T::weight_copies; i++) {
      if (T::N % T::rows_at_once != 0 && row + i * T::rows_at_once >= T::N) continue;
      const bool valid = exists && weights[i] >= 0;
      const int64_t from = weights[i] + static_cast<int64_t>(k.tap) * p.chunks + k.chunk();
      cp_async_16(stage + swizzled(T::M + row + i * T::rows_at_once, column), weight + (valid ? from : 0), valid);
    }
    k.advance(p, kStep, slice);
  }
};

template <class T>
__global__ void __launch_bounds__(T::threads) conv2d_mma_kernel(ConvProblem p, int tiles_n) {
  constexpr int kFragmentsM = T::warp_m / 16, kFragmentsN = T::warp_n / 8;
  const int tile_m = static_cast<int>(blockIdx.x) / tiles_n, tile_n = static_cast<int>(blockIdx.x) % tiles_n;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / T::warps_n * T::warp_m, warp_n = warp % T::warps_n * T::warp_n;
  char* const shared = shared_memory<char>();
  Copier<T> copier(p, tile_m, tile_n, std::make_integer_sequence<int, T::x_copies>());
  const int steps = (p.taps * p.chunks + kStep - 1) / kStep;

#pragma unroll
  for (int s = 0; s < kStages - 1; s++) {
    if (s < steps) copier.copy(shared + s * T::stage_bytes);
    cp_async_commit();
  }
  float sums[kFragmentsM][kFragmentsN][4] = {};
  for (int step = 0; step < steps; step++) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this step has arrived for all, and all are done with the stage that is filled next
    if (step + kStages - 1 < steps) copier.copy(shared + (step + kStages - 1) % kStages * T::stage_bytes);
    cp_async_commit();
    const char* const stage = shared + step % kStages * T::stage_bytes;
#pragma unroll
    for (int half = 0; half < kStep / 2; half++) {  // 16 channels
      uint32_t x[kFragmentsM][4], w[kFragmentsN / 2][4];
#pragma unroll
      for (int i = 0; i < kFragmentsM; i++)
        ldmatrix_x4(x[i], stage + swizzled(warp_m + i * 16 + lane % 16, half * 2 + lane / 16));
#pragma unroll
      for (int j = 0; j < kFragmentsN / 2; j++)
        ldmatrix_x4(w[j], stage + swizzled(T::M + warp_n + j * 16 + lane / 16 * 8 + lane % 8, half * 2 + lane / 8 % 2));
#pragma unroll
      for (int i = 0; i < kFragmentsM; i++)
#pragma unroll
        for (int j = 0; j < kFragmentsN; j++) {
          const uint32_t b[2] = {w[j / 2][j % 2 * 2], w[j / 2][j % 2 * 2 + 1]};
          mma_m16n8k16_bf16(sums[i][j], x[i], b);
        }
    }
  }

  const int m = tile_m * T::M + warp_m + lane / 4, o = tile_n * T::N + warp_n + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < kFragmentsM; i++)
#pragma unroll
    for (int j = 0; j < kFragmentsN; j++) {
      finish_pair(p, m + i * 16, o + j * 8, sums[i][j][0], sums[i][j][1]);
      finish_pair(p, m + i * 16 + 8, o + j * 8, sums[i][j][2], sums[i][j][3]);
    }
}

/// Runs with this tile if that gives every multiprocessor a block, or if it must.
template <class T>
bool run(Context& ctx, const ConvProblem& p, bool must) {
  const int64_t tiles_m = blocks_of(p.pixels, T::M), tiles_n = blocks_of(p.channels, T::N);
  if (!must && tiles_m * tiles_n < device_of(ctx).multiprocessors()) return false;
  launch(ctx, conv2d_mma_kernel<T>, dim3(static_cast<unsigned>(tiles_m * tiles_n)), dim3(T::threads), T::shared_bytes,
         p, static_cast<int>(tiles_n));
  return true;
}

}  // namespace

void conv2d_mma(Context& ctx, const ConvProblem& p) {
  if (p.channels <= 16) {
    run<Tile<128, 16, 32, 16>>(ctx, p, true);
  } else if (p.channels <= 64) {
    run<Tile<128, 64, 64, 32>>(ctx, p, false) || run<Tile<64, 64, 32, 32>>(ctx, p, true);
  } else {
    run<Tile<256, 128, 64, 64>>(ctx, p, false) || run<Tile<128, 128, 64, 64>>(ctx, p, false) ||
        run<Tile<64, 64, 32, 32>>(ctx, p, true);
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
