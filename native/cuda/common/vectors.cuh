// Vectors: N neighbouring elements of a row, moved with as few and as wide accesses as their alignment allows, and
// computed with in f32. Kernels take N as a parameter; N = 1 is the path for rows that are not aligned.
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "base/error.h"
#include "base/tensor.h"
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

template <int N>
struct Floats {
  float v[N];
  __device__ __forceinline__ float& operator[](int i) { return v[i]; }
  __device__ __forceinline__ float operator[](int i) const { return v[i]; }
};

/// An unsigned number, or a vector of them, of this many bytes.
template <int Bytes>
struct Word;
template <>
struct Word<16> {
  using type = uint4;
};
template <>
struct Word<8> {
  using type = uint2;
};
template <>
struct Word<4> {
  using type = uint32_t;
};
template <>
struct Word<2> {
  using type = uint16_t;
};
template <>
struct Word<1> {
  using type = uint8_t;
};

/// Elements of T that one access moves: 16 bytes, or all N.
template <int N, class T>
constexpr int kPerAccess = N * sizeof(T) <= 16 ? N : 16 / sizeof(T);

/// from[0..N) as f32; `from` is aligned to the access.
template <int N, class T>
__device__ __forceinline__ Floats<N> load(const T* from) {
  constexpr int kPer = kPerAccess<N, T>;
  using Access = typename Word<kPer * sizeof(T)>::type;
  Floats<N> to;
#pragma unroll
  for (int i = 0; i < N; i += kPer) {
    const Access raw = *reinterpret_cast<const Access*>(from + i);
    T values[kPer];
    memcpy(values, &raw, sizeof raw);
#pragma unroll
    for (int j = 0; j < kPer; j++) to[i + j] = to_float(values[j]);
  }
  return to;
}

/// to[0..N) = value, rounded to T.
template <int N, class T>
__device__ __forceinline__ void store(T* to, const Floats<N>& value) {
  constexpr int kPer = kPerAccess<N, T>;
  using Access = typename Word<kPer * sizeof(T)>::type;
#pragma unroll
  for (int i = 0; i < N; i += kPer) {
    T values[kPer];
#pragma unroll
    for (int j = 0; j < kPer; j++) values[j] = from_float<T>(value[i + j]);
    Access raw;
    memcpy(&raw, values, sizeof raw);
    *reinterpret_cast<Access*>(to + i) = raw;
  }
}

/// The sum of v over the warp, in every lane, always added in the same order.
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(0xffffffffu, v, lanes);
  return v;
}

/// The sum over the block, in every thread. Each call needs its own `slots`, one a warp.
template <class T>
__device__ __forceinline__ T block_sum(T v, T* slots) {
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = v;
  __syncthreads();
  T sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) sum += slots[warp];
  return sum;
}

/// Whether all rows of these tensors may be moved N elements at a time. Tensors that are absent do not matter.
__host__ inline bool moves_by(int n, std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* t : tensors) {
    if (!t->defined()) continue;
    const int64_t bytes = n * dtype_bytes(t->dtype) < 16 ? n * dtype_bytes(t->dtype) : 16;
    if (reinterpret_cast<uintptr_t>(t->data) % bytes != 0 || t->last() % n != 0) return false;
    for (int i = 0; i + 1 < t->rank; i++)
      if (t->shape[i] > 1 && t->stride[i] % n != 0) return false;
  }
  return true;
}

/// Blocks for `work` units of which a block does `each`.
__host__ inline unsigned blocks_for(int64_t work, int64_t each) {
  const int64_t blocks = (work + each - 1) / each;
  if (blocks > INT32_MAX) fail(Code::InvalidArgument, "%lld blocks are more than a GPU takes", (long long)blocks);
  return static_cast<unsigned>(blocks);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
