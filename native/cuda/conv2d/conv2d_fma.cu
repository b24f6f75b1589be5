// conv2d in f32, exact: implicit GEMM, one f32 fused multiply-add per term, always in the same order.
//
// Work split: a block of 256 threads makes a tile of M pixels x N channels, a thread TM x TN of it. K goes by in
// steps of 4 chunks (16 channels); both operands lie in shared memory with K outermost, the next step is read into
// registers meanwhile, two buffers take turns. Tiles of 4 channels are for pictures (3 of them), which are bound by
// reading x. Must move: x, weights, residual and out once, x from the caches once per tap. Limit: the f32 rate, 2
// pixels taps C O operations (VAE shortcut, 256 to 128 channels at 512 x 512: 17 GFLOP; AdaFace: 12.6 GFLOP in all).
#include "cuda/conv2d/conv2d.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kStep = 4, kStepChannels = kStep * 4;

template <int kM, int kN, int kTm, int kTn>
struct Tile {
  static constexpr int M = kM, N = kN, TM = kTm, TN = kTn;
  static constexpr int across = N / TN;  // threads side by side
  static constexpr int rows_at_once = kThreads / kStep;
  static constexpr int x_reads = M / rows_at_once, weight_reads = (N + rows_at_once - 1) / rows_at_once;
  static constexpr int x_line = M + 4, weight_line = N + 4;  // of shared memory, in floats
  static constexpr int buffer = kStepChannels * (x_line + weight_line), shared_bytes = 2 * buffer * 4;
  static_assert(M / TM * across == kThreads && M % rows_at_once == 0);
};

/// A thread's T entries of a line of `length`: runs of up to 4, so that neighbouring threads read neighbouring vectors.
template <int T>
__device__ __forceinline__ int entry(int thread, int i, int length) {
  constexpr int kRun = T < 4 ? T : 4;
  return i / kRun * (length / (T / kRun)) + thread * kRun + i % kRun;
}
template <int T>
__device__ __forceinline__ void read_entries(const float* line, int thread, int length, float (&to)[T]) {
  constexpr int kRun = T < 4 ? T : 4;
#pragma unroll
  for (int i = 0; i < T; i += kRun) {
    const float* from = line + entry<T>(thread, i, length);
    if constexpr (kRun == 4) {
      const float4 v = *reinterpret_cast<const float4*>(from);
      to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
    } else {
      const float2 v = *reinterpret_cast<const float2*>(from);
      to[i] = v.x, to[i + 1] = v.y;
    }
  }
}

/// This thread's part of the loads: one chunk column of some pixels and some output channels.
template <class T>
struct Loader {
  const ConvProblem& p;
  const int slice, column, row;
  TapCursor k;
  Window windows[T::x_reads];
  int64_t weights[T::weight_reads];  // chunks from the start to the channel's row, or -1
  float4 x_values[T::x_reads], weight_values[T::weight_reads];

  template <int... I>
  __device__ __forceinline__ Loader(const ConvProblem& p, int tile_m, int tile_n, std::integer_sequence<int, I...>)
      : p(p),
        slice(p.slice(kStep)),
        column(static_cast<int>(threadIdx.x) % kStep),
        row(static_cast<int>(threadIdx.x) / kStep),
        k(p, column, slice),
        windows{Window(p, tile_m * T::M + row + I * T::rows_at_once)...} {
#pragma unroll
    for (int i = 0; i < T::weight_reads; i++) {
      const int o = tile_n * T::N + row + i * T::rows_at_once;
      const bool exists = row + i * T::rows_at_once < T::N && o < p.channels;
      weights[i] = exists ? static_cast<int64_t>(o) * p.taps * p.chunks : -1;
    }
  }
  /// The next step into registers.
  __device__ __forceinline__ void read() {
    const float4 *x = static_cast<const float4*>(p.x), *weight = static_cast<const float4*>(p.weight);
    const float4 zero = {0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < T::x_reads; i++) {
      const int64_t from = windows[i].at(p, k);
      x_values[i] = from < 0 ? zero : __ldg(x + from);
    }
    const bool exists = k.exists(p);
#pragma unroll
    for (int i = 0; i < T::weight_reads; i++)
      weight_values[i] = exists && weights[i] >= 0
                             ? __ldg(weight + weights[i] + static_cast<int64_t>(k.tap) * p.chunks + k.chunk())
                             : zero;
    k.advance(p, kStep, slice);
  }
  /// Four channels of a row become a column of four lines.
  static __device__ __forceinline__ void put(float* lines, int length, int line, int at, const float4& v) {
    lines[line * length + at] = v.x;
    lines[(line + 1) * length + at] = v.y;
    lines[(line + 2) * length + at] = v.z;
    lines[(line + 3) * length + at] = v.w;
  }
  __device__ __forceinline__ void write(float* buffer) const {
#pragma unroll
    for (int i = 0; i < T::x_reads; i++) put(buffer, T::x_line, column * 4, row + i * T::rows_at_once, x_values[i]);
#pragma unroll
    for (int i = 0; i < T::weight_reads; i++)
      if (T::N % T::rows_at_once == 0 || row + i * T::rows_at_once < T::N)
        put(buffer + kStepChannels * T::x_line, T::weight_line, column * 4, row + i * T::rows_at_once,
            weight_values[i]);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) conv2d_fma_kernel(ConvProblem p, int tiles_n) {
  const int tile_m = static_cast<int>(blockIdx.x) / tiles_n, tile_n = static_cast<int>(blockIdx.x) % tiles_n;
  const int down = static_cast<int>(threadIdx.x) / T::across, right = static_cast<int>(threadIdx.x) % T::across;
  float* const shared = shared_memory<float>();
  Loader<T> loader(p, tile_m, tile_n, std::make_integer_sequence<int, T::x_reads>());
  const int steps = (p.taps * p.chunks + kStep - 1) / kStep;
  float sums[T::TM][T::TN] = {};

  loader.read();
  loader.write(shared);
  __syncthreads();
  for (int step = 0; step < steps; step++) {
    const float* const buffer = shared + step % 2 * T::buffer;
    const bool more = step + 1 < steps;
    if (more) loader.read();
#pragma unroll
    for (int k = 0; k < kStepChannels; k++) {
      float x[T::TM], w[T::TN];
      read_entries(buffer + k * T::x_line, down, T::M, x);
      read_entries(buffer + kStepChannels * T::x_line + k * T::weight_line, right, T::N, w);
#pragma unroll
      for (int i = 0; i < T::TM; i++)
#pragma unroll
        for (int j = 0; j < T::TN; j++) sums[i][j] += x[i] * w[j];
    }
    if (more) loader.write(shared + (step + 1) % 2 * T::buffer);
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < T::TM; i++)
#pragma unroll
    for (int j = 0; j < T::TN; j += 2)
      finish_pair(p, tile_m * T::M + entry<T::TM>(down, i, T::M), tile_n * T::N + entry<T::TN>(right, j, T::N),
                  sums[i][j], sums[i][j + 1]);
}

/// Runs with this tile if that gives every multiprocessor a block, or if it must.
template <class T>
bool run(Context& ctx, const ConvProblem& p, bool must) {
  const int64_t tiles_m = blocks_of(p.pixels, T::M), tiles_n = blocks_of(p.channels, T::N);
  if (!must && tiles_m * tiles_n < device_of(ctx).multiprocessors()) return false;
  launch(ctx, conv2d_fma_kernel<T>, dim3(static_cast<unsigned>(tiles_m * tiles_n)), dim3(kThreads), T::shared_bytes, p,
         static_cast<int>(tiles_n));
  return true;
}

}  // namespace

void conv2d_fma(Context& ctx, const ConvProblem& p) {
  if (p.channels <= 4) {
    run<Tile<512, 4, 2, 4>>(ctx, p, true);
  } else if (p.channels <= 64) {
    run<Tile<128, 64, 8, 4>>(ctx, p, false) || run<Tile<64, 64, 4, 4>>(ctx, p, true);
  } else {
    run<Tile<128, 128, 8, 8>>(ctx, p, false) || run<Tile<64, 64, 4, 4>>(ctx, p, true);
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
