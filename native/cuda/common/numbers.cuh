// Numbers on the device: bf16 and f16 to f32 and back, pairs of them in registers, and the few functions the kernels
// share.
#pragma once
#include <cstdint>

#include "cuda/common/launch.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

using bf16 = __nv_bfloat16;
using f16 = __half;

// ---- one number
// ---------------------------------------------------------------------------------------------------------

__device__ __forceinline__ float to_float(float v) { return v; }

#ifdef ICONFACE_CUDA_EMULATED

__forceinline__ float to_float(bf16 v) { return __uint_as_float(static_cast<unsigned>(v.bits) << 16); }
__forceinline__ bf16 to_bf16(float v) {
  const unsigned u = __float_as_uint(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};  // NaN stays NaN
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}
__forceinline__ float to_float(f16 v) {
  _Float16 h;
  memcpy(&h, &v.bits, 2);
  return static_cast<float>(h);
}
__forceinline__ f16 to_f16(float v) {
  const _Float16 h = static_cast<_Float16>(v);
  f16 out;
  memcpy(&out.bits, &h, 2);
  return out;
}
__forceinline__ uint16_t bits_of(bf16 v) { return v.bits; }
__forceinline__ bf16 bf16_of_bits(uint16_t bits) { return {bits}; }

/// 2^v to a few units in the last place of f32 (ex2.approx).
__forceinline__ float fast_exp2(float v) { return std::exp2(v); }

#else

__device__ __forceinline__ float to_float(bf16 v) { return __bfloat162float(v); }
/// Rounds to nearest even.
__device__ __forceinline__ bf16 to_bf16(float v) { return __float2bfloat16_rn(v); }
__device__ __forceinline__ float to_float(f16 v) { return __half2float(v); }
__device__ __forceinline__ f16 to_f16(float v) { return __float2half_rn(v); }
__device__ __forceinline__ uint16_t bits_of(bf16 v) { return __bfloat16_as_ushort(v); }
__device__ __forceinline__ bf16 bf16_of_bits(uint16_t bits) { return __ushort_as_bfloat16(bits); }

/// 2^v to a few units in the last place of f32.
__device__ __forceinline__ float fast_exp2(float v) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(v));
  return result;
}

#endif

/// a * b, rounded by itself: a compiler may not make a fused multiply-add of it.
__host__ __device__ __forceinline__ double times(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  const volatile double product = a * b;
  return product;
#endif
}

/// v in the type of an output.
template <class T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) {
  return v;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float v) {
  return to_bf16(v);
}
template <>
__device__ __forceinline__ f16 from_float<f16>(float v) {
  return to_f16(v);
}

// ---- pairs of bf16 in one register, the first in the low half
// -------------------------------------------------------------

__device__ __forceinline__ uint32_t pack_bf16(float first, float second) {
  return static_cast<uint32_t>(bits_of(to_bf16(first))) | static_cast<uint32_t>(bits_of(to_bf16(second))) << 16;
}
__device__ __forceinline__ float2 unpack_bf16(uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}

// ---- functions
// ------------------------------------------------------------------------------------------------------------

/// v * sigmoid(v), to the accuracy of f32 everywhere.
__device__ __forceinline__ float silu(float v) { return v / (1.0f + expf(-v)); }
/// The same to some 1e-6, for products of bf16 and e4m3: an exact division is 30 instructions and a branch, in an
/// epilogue that nothing else runs beside.
__device__ __forceinline__ float fast_silu(float v) { return __fdividef(v, 1.0f + __expf(-v)); }

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
