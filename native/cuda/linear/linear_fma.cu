// linear in f32, exact: out = epilogue(x W^T), x [M, K] F32, W [N, K] of any type, one f32 fused multiply-add per term
// in the order of K. The result of an element does not depend on the tile it falls into.
//
// Work split: a block of 16 x 16 threads makes a T x T tile, a thread R x R of it (two runs of R/2 rows and columns, so
// that shared memory is read 8 or 16 bytes at a time without bank conflicts). K goes by in steps of 16: both operands
// lie in shared memory with K outermost, the next step is read into registers meanwhile, two buffers take turns. For
// SwiGLU a tile's columns are T/2 of each half of W, which puts both factors of an output into one thread.
// Must move: x, W and out once. Limit: the f32 rate (2 M N K operations).
#include "cuda/linear/linear.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kStep = 16;

template <int kR>
struct FmaTile {
  static constexpr int R = kR, T = 16 * R, half = R / 2;
  static constexpr int lanes_per_row = kThreads / T;        // threads that load one row
  static constexpr int per_thread = kStep / lanes_per_row;  // elements each of them loads
  static constexpr int stride = T + 4;                      // of a line of shared memory, in floats
  static constexpr int operand = kStep * stride;
  static constexpr int shared_bytes = 2 * 2 * operand * 4;  // two operands, two buffers
};

/// N elements of a row as f32, `left` of which exist; `wide`: all or none do, and they are aligned.
template <int N, class T>
__device__ __forceinline__ void read_row(const T* from, int left, bool wide, float (&to)[N]) {
  union Piece {
    uint2 raw;
    T value[8 / sizeof(T)];
    __device__ Piece() {}
  };
  constexpr int kPer = 8 / sizeof(T);
  if (wide && left > 0) {
#pragma unroll
    for (int i = 0; i < N; i += kPer) {
      Piece piece;
      piece.raw = __ldg(reinterpret_cast<const uint2*>(from + i));
#pragma unroll
      for (int j = 0; j < kPer; j++) to[i + j] = to_float(piece.value[j]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < N; i++) to[i] = i < left ? to_float(from[i]) : 0.0f;
}

/// This thread's part of the loads: `per_thread` elements of one row of x and one of W.
template <class Tile, class W>
struct Loader {
  const float* x = nullptr;
  const W* weight = nullptr;
  int row, first;  // within the tile, within the step
  bool x_wide, weight_wide;
  float x_values[Tile::per_thread], weight_values[Tile::per_thread];

  __device__ __forceinline__ Loader(const LinearProblem& p, int tile_m, int tile_n, bool x_wide, bool weight_wide)
      : row(static_cast<int>(threadIdx.x) % Tile::T),
        first(static_cast<int>(threadIdx.x) / Tile::T * Tile::per_thread),
        x_wide(x_wide),
        weight_wide(weight_wide) {
    const int m = tile_m * Tile::T + row;
    if (m < p.m) x = p.x.row<const float>(m);
    int64_t n = tile_n * Tile::T + row;
    bool exists = n < p.n;
    if (p.swiglu()) {
      const int column = tile_n * (Tile::T / 2) + row % (Tile::T / 2);
      n = row / (Tile::T / 2) * static_cast<int64_t>(p.n) + column;
      exists = column < p.n;
    }
    if (exists) weight = static_cast<const W*>(p.weight) + n * p.weight_stride;
  }
  __device__ __forceinline__ void read(const LinearProblem& p, int step) {
    const int k = step * kStep + first, left = p.k - k;
    read_row(x + k, x != nullptr ? left : 0, x_wide, x_values);
    read_row(weight + k, weight != nullptr ? left : 0, weight_wide, weight_values);
  }
  __device__ __forceinline__ void write(float* buffer) const {
#pragma unroll
    for (int i = 0; i < Tile::per_thread; i++) {
      buffer[(first + i) * Tile::stride + row] = x_values[i];
      buffer[Tile::operand + (first + i) * Tile::stride + row] = weight_values[i];
    }
  }
};

/// Entries h * T/2 + at + [0, R/2) of a line, h = 0 and 1.
template <class Tile>
__device__ __forceinline__ void read_line(const float* line, int at, float (&to)[Tile::R]) {
  using Vector = std::conditional_t<Tile::half == 4, float4, float2>;
  union Values {
    Vector vector[2];
    float value[Tile::R];
    __device__ Values() {}
  };
  Values v;
  v.vector[0] = *reinterpret_cast<const Vector*>(line + at);
  v.vector[1] = *reinterpret_cast<const Vector*>(line + Tile::T / 2 + at);
#pragma unroll
  for (int i = 0; i < Tile::R; i++) to[i] = v.value[i];
}

template <class Tile, class W>
__global__ void __launch_bounds__(kThreads)
    linear_fma_kernel(LinearProblem p, int tiles_n, bool x_wide, bool weight_wide) {
  const int tile_m = static_cast<int>(blockIdx.x) / tiles_n, tile_n = static_cast<int>(blockIdx.x) % tiles_n;
  const int at_m = static_cast<int>(threadIdx.x) / 16 * Tile::half,
            at_n = static_cast<int>(threadIdx.x) % 16 * Tile::half;
  float* const shared = shared_memory<float>();
  Loader<Tile, W> loader(p, tile_m, tile_n, x_wide, weight_wide);
  const int steps = (p.k + kStep - 1) / kStep;
  float sums[Tile::R][Tile::R] = {};

  loader.read(p, 0);
  loader.write(shared);
  __syncthreads();
  for (int step = 0; step < steps; step++) {
    const float* const buffer = shared + step % 2 * (2 * Tile::operand);
    const bool more = step + 1 < steps;
    if (more) loader.read(p, step + 1);
#pragma unroll
    for (int k = 0; k < kStep; k++) {
      float x[Tile::R], w[Tile::R];
      read_line<Tile>(buffer + k * Tile::stride, at_m, x);
      read_line<Tile>(buffer + Tile::operand + k * Tile::stride, at_n, w);
#pragma unroll
      for (int i = 0; i < Tile::R; i++)
#pragma unroll
        for (int j = 0; j < Tile::R; j++) sums[i][j] += x[i] * w[j];
    }
    if (more) loader.write(shared + (step + 1) % 2 * (2 * Tile::operand));
    __syncthreads();
  }

  const auto bias = [&](int index) { return p.bias != nullptr ? p.bias[index] : 0.0f; };
#pragma unroll
  for (int i = 0; i < Tile::R; i++) {
    const int row = tile_m * Tile::T + i / Tile::half * (Tile::T / 2) + at_m + i % Tile::half;
    if (row >= p.m) continue;
    const OutRow out(p, row);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      if (h == 1 && p.swiglu()) continue;
      const int first = p.swiglu() ? tile_n * (Tile::T / 2) + at_n : tile_n * Tile::T + h * (Tile::T / 2) + at_n;
      float v[Tile::half];
#pragma unroll
      for (int j = 0; j < Tile::half; j++) {
        const int column = first + j;
        if (column >= p.n) {
          v[j] = 0;
          continue;
        }
        v[j] = sums[i][h * Tile::half + j] + bias(column);
        if (p.activation != op::Activation::None) v[j] = silu(v[j]);
        if (p.swiglu()) v[j] *= sums[i][Tile::half + j] + bias(p.n + column);
      }
      if (p.out_type == DType::F32 && p.wide_out && first + Tile::half <= p.n) {
        out.store_wide<Tile::half>(p, first, v);
      } else {
#pragma unroll
        for (int j = 0; j < Tile::half; j++)
          if (first + j < p.n) out.store(p, first + j, v[j]);
      }
    }
  }
}

template <class Tile, class W>
void run(Context& ctx, const LinearProblem& p) {
  const int columns = p.swiglu() ? Tile::T / 2 : Tile::T;
  const unsigned tiles_m = (p.m + Tile::T - 1) / Tile::T, tiles_n = (p.n + columns - 1) / columns;
  const auto wide = [&](const void* base, int64_t stride, int64_t bytes) {
    return p.k % Tile::per_thread == 0 && reinterpret_cast<uintptr_t>(base) % 8 == 0 && stride * bytes % 8 == 0;
  };
  const bool x_wide = p.k % Tile::per_thread == 0 && p.x.aligned(8, 4);
  launch(ctx, linear_fma_kernel<Tile, W>, dim3(tiles_m * tiles_n), dim3(kThreads), Tile::shared_bytes, p,
         static_cast<int>(tiles_n), x_wide, wide(p.weight, p.weight_stride, sizeof(W)));
}

template <class W>
void choose(Context& ctx, const LinearProblem& p) {
  const int64_t wide_tiles = ((p.m + 127) / 128) * ((p.n * (p.swiglu() ? 2 : 1) + 127) / 128);
  if (wide_tiles >= device_of(ctx).multiprocessors())
    run<FmaTile<8>, W>(ctx, p);
  else
    run<FmaTile<4>, W>(ctx, p);
}

}  // namespace

void linear_fma(Context& ctx, const LinearProblem& p) {
  if (p.weight_type == DType::F32)
    choose<float>(ctx, p);
  else if (p.weight_type == DType::F16)
    choose<__half>(ctx, p);
  else
    choose<__nv_bfloat16>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
