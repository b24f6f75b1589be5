// Vectors of floats for the instruction set this file is compiled for: AVX-512 (with or without BF16), AVX2, NEON or
// whatever the compiler makes of 128-bit vectors. Every file of cpu/ is written once over these and compiled once per
// instruction set, into a namespace of its own (ICONFACE_ISA); cpu/host/select.cc picks one at run time.
//
// Arithmetic on F and I is plain C (+, *, <, ?:), which GCC and Clang turn into vector instructions, a * b + c into a
// fused multiply-add where there is one. Only what C cannot say is below.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/e4m3.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace iconface::cpu::ICONFACE_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

#if defined(__AVX512BF16__)
constexpr bool kHasBf16Dot = true;
#else
constexpr bool kHasBf16Dot = false;
#endif

typedef float F __attribute__((vector_size(kLanes * 4)));
typedef int32_t I __attribute__((vector_size(kLanes * 4)));
typedef uint32_t U __attribute__((vector_size(kLanes * 4)));
typedef uint16_t H __attribute__((vector_size(kLanes * 2)));  // kLanes bf16 or f16

using bf16 = uint16_t;  // the upper half of a float

ICONFACE_INLINE F splat(float x) { return x - F{}; }
ICONFACE_INLINE F load(const float* p) {
  F v;
  memcpy(&v, p, sizeof v);
  return v;
}
ICONFACE_INLINE void store(float* p, F v) { memcpy(p, &v, sizeof v); }
ICONFACE_INLINE I bits(F v) { return reinterpret_cast<I>(v); }
ICONFACE_INLINE F floats(I v) { return reinterpret_cast<F>(v); }
ICONFACE_INLINE F max(F a, F b) { return a > b ? a : b; }
ICONFACE_INLINE F min(F a, F b) { return a < b ? a : b; }

// ---- bf16, f16 and e4m3 ---------------------------------------------------------------------------------------------

ICONFACE_INLINE float widen(bf16 x) {
  const uint32_t u = static_cast<uint32_t>(x) << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}
/// Rounds to nearest even; NaN stays NaN.
ICONFACE_INLINE bf16 narrow(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<bf16>((u >> 16) | 0x40);
  return static_cast<bf16>((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}
/// Zero-extends every lane; GCC makes several instructions of the plain conversion.
ICONFACE_INLINE U extend(H h) {
#if defined(__AVX512F__)
  return (U)_mm512_maskz_cvtepu16_epi32(-1, (__m256i)h);  // (the maskless form warns in GCC 12)
#elif defined(__AVX2__)
  return (U)_mm256_cvtepu16_epi32((__m128i)h);
#else
  return __builtin_convertvector(h, U);
#endif
}
ICONFACE_INLINE F widen(H h) { return floats(reinterpret_cast<I>(extend(h) << 16)); }
ICONFACE_INLINE H narrow(F v) {
#if defined(__AVX512BF16__)
  return (H)_mm512_cvtneps_pbh((__m512)v);
#else
  const U u = reinterpret_cast<U>(v);
  const U rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const I is_nan = v != v;
  return __builtin_convertvector(
      reinterpret_cast<U>(is_nan ? reinterpret_cast<I>((u >> 16) | 0x40) : reinterpret_cast<I>(rounded)), H);
#endif
}
ICONFACE_INLINE F load(const bf16* p) {
  H h;
  memcpy(&h, p, sizeof h);
  return widen(h);
}
ICONFACE_INLINE void store(bf16* p, F v) {
  const H h = narrow(v);
  memcpy(p, &h, sizeof h);
}
/// One element as it is stored. Weights lie in their file at any byte, so no read may count on alignment.
template <class T>
ICONFACE_INLINE T load_raw(const T* p) {
  T value;
  memcpy(&value, p, sizeof value);
  return value;
}
ICONFACE_INLINE float load1(const float* p) { return load_raw(p); }
ICONFACE_INLINE float load1(const bf16* p) { return widen(load_raw(p)); }
ICONFACE_INLINE void store1(float* p, float v) { *p = v; }
ICONFACE_INLINE void store1(bf16* p, float v) { *p = narrow(v); }

/// IEEE half precision, stored as its bits in a type of its own so that overloads can tell it from bf16.
struct f16 {
  uint16_t bits;
};
ICONFACE_INLINE float load1(const f16* p) {
  const uint32_t h = load_raw(p).bits, sign = (h & 0x8000u) << 16;
  uint32_t exponent = (h >> 10) & 31, mantissa = h & 1023, u;
  if (exponent == 31) {
    u = sign | 0x7f800000u | (mantissa << 13);
  } else if (exponent != 0) {
    u = sign | ((exponent + 112) << 23) | (mantissa << 13);
  } else {
    const float f = static_cast<float>(mantissa) * 0x1p-24f;
    memcpy(&u, &f, 4);
    u |= sign;
  }
  float f;
  memcpy(&f, &u, 4);
  return f;
}
ICONFACE_INLINE F load(const f16* p) {
#if defined(__AVX512F__)
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (F)_mm512_maskz_cvtph_ps(0xffff, half);  // the unmasked form warns of an uninitialised value in GCC 12
#elif defined(__F16C__)
  return (F)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__)
  return (F)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))));
#else
  F v;
  for (int i = 0; i < kLanes; i++) v[i] = load1(p + i);
  return v;
#endif
}

/// Not tuned: the CPU's networks do not use it.
ICONFACE_INLINE float load1(const e4m3* p) { return to_float(load_raw(p)); }
ICONFACE_INLINE F load(const e4m3* p) {
  F v;
  for (int i = 0; i < kLanes; i++) v[i] = load1(p + i);
  return v;
}

// ---- bytes ----------------------------------------------------------------------------------------------------------

/// kLanes bytes as integers.
ICONFACE_INLINE I load_bytes(const uint8_t* p) {
#if defined(__AVX512F__)
  return (I)_mm512_maskz_cvtepu8_epi32(-1, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (I)_mm256_cvtepu8_epi32(_mm_loadu_si64(p));
#elif defined(__x86_64__)
  const __m128i zero = _mm_setzero_si128();
  return (I)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_loadu_si32(p), zero), zero);
#elif defined(__aarch64__)
  uint32_t four;
  memcpy(&four, p, 4);
  return (I)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
#else
  I v;
  for (int i = 0; i < kLanes; i++) v[i] = p[i];
  return v;
#endif
}
/// Every lane as a byte, clamped to 0..255.
ICONFACE_INLINE void store_bytes(uint8_t* p, I v) {
#if defined(__AVX512F__)
  const __m512i positive = _mm512_maskz_max_epi32(-1, (__m512i)v, _mm512_setzero_si512());
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtusepi32_epi8(-1, positive));
#elif defined(__AVX2__)
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  _mm_storeu_si64(p, _mm_packus_epi16(words, words));
#elif defined(__x86_64__)
  const __m128i words = _mm_packs_epi32((__m128i)v, (__m128i)v);
  _mm_storeu_si32(p, _mm_packus_epi16(words, words));
#elif defined(__aarch64__)
  const int16x4_t words = vqmovn_s32((int32x4_t)v);
  const uint64_t eight = vget_lane_u64(vreinterpret_u64_u8(vqmovun_s16(vcombine_s16(words, words))), 0);
  memcpy(p, &eight, 4);
#else
  for (int i = 0; i < kLanes; i++) p[i] = static_cast<uint8_t>(v[i] < 0 ? 0 : v[i] > 255 ? 255 : v[i]);
#endif
}

// ---- tails ----------------------------------------------------------------------------------------------------------

/// The first n (0..kLanes) elements; the rest are zero and their memory is not touched.
template <class T>
ICONFACE_INLINE F load_some(const T* p, int64_t n) {
  if (n >= kLanes) return load(p);
  T copy[kLanes] = {};
  for (int64_t i = 0; i < n; i++) copy[i] = load_raw(p + i);
  return load(copy);
}
template <class T>
ICONFACE_INLINE void store_some(T* p, F v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  T copy[kLanes];
  store(copy, v);
  for (int64_t i = 0; i < n; i++) p[i] = copy[i];
}
#if defined(__AVX512F__)
// In one instruction each: maps of few channels are all tail.
ICONFACE_INLINE F load_some(const float* p, int64_t n) {
  if (n >= kLanes) return load(p);
  return (F)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
ICONFACE_INLINE void store_some(float* p, F v, int64_t n) {
  if (n >= kLanes) return store(p, v);
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
}
#endif

/// The first n lanes; `rest` in the others.
ICONFACE_INLINE F first_lanes(F v, int64_t n, float rest = 0) {
  if (n >= kLanes) return v;
  I lane{};
  for (int i = 0; i < kLanes; i++) lane[i] = i;
  return lane < static_cast<int32_t>(n) ? v : splat(rest);
}
/// (1, 0, 3, 2, ...): the two halves of every pair change places.
ICONFACE_INLINE F swap_pairs(F v) {
  typedef uint64_t Pairs __attribute__((vector_size(kLanes * 4)));
  const Pairs p = reinterpret_cast<Pairs>(v);
  return reinterpret_cast<F>((p << 32) | (p >> 32));
}

#if defined(__AVX512BF16__)
/// acc[i] += a[2i] * b[2i] + a[2i+1] * b[2i+1]; a and b hold pairs of bf16.
ICONFACE_INLINE F dot_pairs(F acc, U a, U b) { return (F)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b); }
#endif

// ---- reductions: always the same order, so that results do not depend on anything but the data
// --------------------------

/// Lane i of the result is lane i + Distance of v, counted around.
template <int Distance, int... J>
ICONFACE_INLINE F rotate(F v, std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(v, v, ((J + Distance) % kLanes)...);
}
/// Folds the upper half onto the lower one until one lane is left.
template <int Half = kLanes / 2, class Combine>
ICONFACE_INLINE float fold(F v, Combine combine) {
  v = combine(v, rotate<Half>(v, std::make_integer_sequence<int, kLanes>()));
  if constexpr (Half > 1) {
    return fold<Half / 2>(v, combine);
  } else {
    return v[0];
  }
}
ICONFACE_INLINE float sum(F v) {
  return fold(v, [](F a, F b) { return a + b; });
}
ICONFACE_INLINE float largest(F v) {
  return fold(v, [](F a, F b) { return max(a, b); });
}

// ---- functions ------------------------------------------------------------------------------------------------------

/// e^x: 2^n * p(r) with |r| <= ln2/2 and a degree-6 polynomial; relative error below 2e-7 on [-87, 88]; 0 below -87.3,
/// infinity above 88.7; NaN gives NaN.
ICONFACE_INLINE F exp(F x) {
  const F clamped = min(max(x, splat(-87.3365f)), splat(88.72284f));
  const F magic = splat(0x1.8p23f);  // adding it rounds to an integer in the low bits
  const F n_biased = clamped * 1.44269504f + magic;
  const F n = n_biased - magic;
  F r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  F p = splat(1.3981999e-3f);
  p = p * r + 8.3334519e-3f;
  p = p * r + 4.1665795e-2f;
  p = p * r + 1.6666665e-1f;
  p = p * r + 5.0000001e-1f;
  p = p * r * r + r + 1.0f;
  // 2^n in two factors: n may be 128 (result infinity or close to it) or -126.
  const I n_int = bits(n_biased) - 0x4b400000;
  const I half = n_int >> 1;
  const F y = p * floats((half + 127) << 23) * floats((n_int - half + 127) << 23);
  const F low = x < splat(-87.3365f) ? F{} : y;
  return x != x ? x : low;
}
/// 2^x for x <= 0, what a softmax needs once its maximum is subtracted: half the work of exp. Relative error below 2e-7
/// (minimax polynomial of degree 5 on [-1/2, 1/2]); 0 from -127 on, 1 at 0; NaN gives NaN.
ICONFACE_INLINE F exp2_nonpositive(F x) {
  const F clamped = max(splat(-127.0f), x);
  const F shifted = clamped + splat(0x1.8p23f);
  const F r = clamped - (shifted - splat(0x1.8p23f));
  F p = splat(1.3264727e-3f);
  p = p * r + 9.671513e-3f;
  p = p * r + 5.5507336e-2f;
  p = p * r + 2.4022242e-1f;
  p = p * r + 6.9314700e-1f;
  p = p * r + 1.0f;
  return floats(bits(p) + (bits(shifted) << 23));
}
ICONFACE_INLINE F sigmoid(F x) { return 1.0f / (1.0f + exp(-x)); }
ICONFACE_INLINE F silu(F x) { return x * sigmoid(x); }

}  // namespace iconface::cpu::ICONFACE_ISA
