// linear for up to 4 rows (modulation vectors): out = epilogue(x W^T) by reading W once.
//
// Work split: a warp makes one column of out (for SwiGLU from two rows of W); its lanes read the row of W in pieces
// of 16 bytes, the x rows beside it come from the L1 cache, and the lanes' sums are added by a butterfly of fixed
// order. Must move: W once, N K elements; klein-4B's three modulations: 2 x 15 D D bytes = 283 MB a step. Limit:
// reading memory.
#include "cuda/linear/linear.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kMaxRows = 4, kWarps = 8;

/// N elements at `from` as f32, which is aligned for them.
template <class T, int N>
__device__ __forceinline__ void read_wide(const T* from, float (&to)[N]) {
  static_assert(N * sizeof(T) % 16 == 0);
  union Piece {
    uint4 raw;
    T value[16 / sizeof(T)];
    __device__ Piece() {}
  };
#pragma unroll
  for (int i = 0; i < N; i += 16 / sizeof(T)) {
    Piece piece;
    piece.raw = __ldg(reinterpret_cast<const uint4*>(from + i));
#pragma unroll
    for (int j = 0; j < static_cast<int>(16 / sizeof(T)); j++) to[i + j] = to_float(piece.value[j]);
  }
}

/// sums[i] += this lane's part of x_i . w
template <class X, class W>
__device__ __forceinline__ void dot(const LinearProblem& p, const X* const (&x)[kMaxRows], const W* w, bool wide,
                                    float (&sums)[kMaxRows]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (!wide) {
    for (int k = lane; k < p.k; k += 32) {
      const float one = to_float(w[k]);
#pragma unroll
      for (int i = 0; i < kMaxRows; i++)
        if (i < p.m) sums[i] += to_float(x[i][k]) * one;
    }
    return;
  }
#pragma unroll 2
  for (int k = lane * 8; k < p.k; k += 32 * 8) {
    float piece[8];
    read_wide(w + k, piece);
#pragma unroll
    for (int i = 0; i < kMaxRows; i++)
      if (i < p.m) {
        float row[8];
        read_wide(x[i] + k, row);
#pragma unroll
        for (int j = 0; j < 8; j++) sums[i] += row[j] * piece[j];
      }
  }
}

template <class X, class W>
__global__ void __launch_bounds__(kWarps * 32) linear_few_rows_kernel(LinearProblem p, bool wide) {
  const int column = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32),
            lane = static_cast<int>(threadIdx.x) % 32;
  if (column >= p.n) return;
  const X* x[kMaxRows];
#pragma unroll
  for (int i = 0; i < kMaxRows; i++) x[i] = p.x.row<const X>(i < p.m ? i : 0);
  float sums[2][kMaxRows] = {};
  const W* const weight = static_cast<const W*>(p.weight);
  dot(p, x, weight + column * p.weight_stride, wide, sums[0]);
  if (p.swiglu()) dot(p, x, weight + (static_cast<int64_t>(p.n) + column) * p.weight_stride, wide, sums[1]);

#pragma unroll
  for (int i = 0; i < kMaxRows; i++) {
    float v[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      v[half] = sums[half][i];
#pragma unroll
      for (int step = 16; step > 0; step /= 2) v[half] += __shfl_xor_sync(0xffffffffu, v[half], step);
    }
    if (i >= p.m || lane != i) continue;
    if (p.bias != nullptr) v[0] += p.bias[column];
    if (p.bias != nullptr && p.swiglu()) v[1] += p.bias[p.n + column];
    if (p.activation != op::Activation::None) v[0] = silu(v[0]);
    if (p.swiglu()) v[0] *= v[1];
    OutRow(p, i).store(p, column, v[0]);
  }
}

template <class X>
void run(Context& ctx, const LinearProblem& p) {
  const auto start = [&]<class W>(const W*) {
    const bool wide = p.k % 8 == 0 && p.x.aligned(16, sizeof(X)) && reinterpret_cast<uintptr_t>(p.weight) % 16 == 0 &&
                      p.weight_stride * sizeof(W) % 16 == 0;
    launch(ctx, linear_few_rows_kernel<X, W>, dim3((p.n + kWarps - 1) / kWarps), dim3(kWarps * 32), 0, p, wide);
  };
  if (p.weight_type == DType::F32)
    start(static_cast<const float*>(nullptr));
  else if (p.weight_type == DType::F16)
    start(static_cast<const __half*>(nullptr));
  else
    start(static_cast<const __nv_bfloat16*>(nullptr));
}

}  // namespace

void linear_few_rows(Context& ctx, const LinearProblem& p) {
  if (p.x_type == DType::F32)
    run<float>(ctx, p);
  else
    run<__nv_bfloat16>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
