// The part of CUDA C++ that the kernels use, for the CPU: qualifiers, built-in variables, vector types,
// barriers, warp collectives and arithmetic. cuda/common/launch.cuh includes it in place of the CUDA headers.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__ static_assert(false, "kernels use no constant memory");
#define __shared__ static_assert(false, "kernels use dynamic shared memory: shared_memory<T>()");
#define __launch_bounds__(...)
#define __grid_constant__
#define __forceinline__ __attribute__((always_inline)) inline

#define threadIdx (::iconface::emulator::thread_index())
#define blockIdx (::iconface::emulator::block_index())
#define blockDim (::iconface::emulator::block_size())
#define gridDim (::iconface::emulator::grid_size())
#define warpSize 32

namespace iconface::emulator {

// ---- vector types ---------------------------------------------------------------------------------------------------

#define ICONFACE_VECTORS(T, name)                                    \
  struct name##1 { T x; };                                           \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                 \
  struct name##3 { T x, y, z; };                                     \
  struct alignas(4 * sizeof(T)) name##4 { T x, y, z, w; };           \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
ICONFACE_VECTORS(float, float)
ICONFACE_VECTORS(int, int)
ICONFACE_VECTORS(unsigned, uint)
ICONFACE_VECTORS(short, short)
ICONFACE_VECTORS(unsigned short, ushort)
ICONFACE_VECTORS(unsigned char, uchar)
#undef ICONFACE_VECTORS
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) longlong2 {
  long long x, y;
};
struct alignas(16) ulonglong2 {
  unsigned long long x, y;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

/// bf16 and f16 as their bits; cuda/numbers.cuh converts them.
struct __nv_bfloat16 {
  uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
struct __half {
  uint16_t bits;
};
struct alignas(4) __half2 {
  __half x, y;
};

// ---- where a thread is
// ------------------------------------------------------------------------------------------------

uint3 thread_index();
uint3 block_index();
dim3 block_size();
dim3 grid_size();
/// The start of the block's dynamic shared memory, 1024-byte aligned.
void* shared_memory_start();

// ---- barriers and warp collectives: scheduling points, none of them inlined, so that reports can name their callers
// -------

void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffffu);
void __threadfence();
void __threadfence_block();
unsigned __activemask();
unsigned __ballot_sync(unsigned mask, int predicate);
int __any_sync(unsigned mask, int predicate);
int __all_sync(unsigned mask, int predicate);
/// The value of lane `from` of the caller's group of `width` lanes; every shuffle is this one.
uint64_t shuffle(unsigned mask, uint64_t bits, int operand, int width, int kind);

enum ShuffleKind { kShuffleIndex, kShuffleUp, kShuffleDown, kShuffleXor };
template <class T>
__attribute__((always_inline)) inline T shuffle_value(unsigned mask, T value, int operand, int width, int kind) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = shuffle(mask, bits, operand, width, kind);
  memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return shuffle_value(mask, value, lane, width, kShuffleIndex);
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return shuffle_value(mask, value, static_cast<int>(delta), width, kShuffleUp);
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return shuffle_value(mask, value, static_cast<int>(delta), width, kShuffleDown);
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return shuffle_value(mask, value, lanes, width, kShuffleXor);
}

float atomicAdd(float* at, float value);
int atomicAdd(int* at, int value);
unsigned atomicAdd(unsigned* at, unsigned value);
int atomicMax(int* at, int value);
int atomicMin(int* at, int value);
int atomicOr(int* at, int value);
unsigned atomicOr(unsigned* at, unsigned value);
int atomicExch(int* at, int value);

// ---- arithmetic
// -----------------------------------------------------------------------------------------------------------

using std::max;
using std::min;
#define ICONFACE_MIXED(A, B, R)                                \
  inline R min(A a, B b) { return R(a) < R(b) ? R(a) : R(b); } \
  inline R max(A a, B b) { return R(a) > R(b) ? R(a) : R(b); }
ICONFACE_MIXED(int, unsigned, unsigned)
ICONFACE_MIXED(unsigned, int, unsigned)
ICONFACE_MIXED(int, int64_t, int64_t)
ICONFACE_MIXED(int64_t, int, int64_t)
#undef ICONFACE_MIXED

template <class T>
__forceinline__ T __ldg(const T* at) {
  return *at;
}
template <class T>
__forceinline__ T __ldcs(const T* at) {
  return *at;
}
template <class T>
__forceinline__ T __ldcg(const T* at) {
  return *at;
}
template <class T>
__forceinline__ void __stcs(T* at, T value) {
  *at = value;
}
template <class T>
__forceinline__ void __stcg(T* at, T value) {
  *at = value;
}

template <class To, class From>
__forceinline__ To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &value, sizeof to);
  return to;
}
inline unsigned __float_as_uint(float v) { return same_bits<unsigned>(v); }
inline int __float_as_int(float v) { return same_bits<int>(v); }
inline float __uint_as_float(unsigned v) { return same_bits<float>(v); }
inline float __int_as_float(int v) { return same_bits<float>(v); }
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }
inline float __frcp_rn(float v) { return 1.0f / v; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __expf(float v) { return std::exp(v); }
inline float __logf(float v) { return std::log(v); }
inline float __saturatef(float v) { return v > 0 ? (v < 1 ? v : 1) : 0; }
inline int __float2int_rd(float v) { return static_cast<int>(std::floor(v)); }
inline int __float2int_rn(float v) { return static_cast<int>(std::nearbyint(v)); }
inline int __float2int_rz(float v) { return static_cast<int>(v); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(static_cast<unsigned>(v)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }

}  // namespace iconface::emulator
