// e4m3: 1 sign bit, 4 exponent bits (bias 7), 3 mantissa bits. No infinity, one NaN of each sign; the largest number
// is 448. Numbers below 2^-6 are multiples of 2^-9 (F8_E4M3 of safetensors, E4M3FN of others).
#pragma once
#include <cstdint>
#include <cstring>

#include "base/tensor.h"

namespace iconface {

/// The bits of a number, in a type of their own so that overloads tell them from bytes.
struct e4m3 {
  uint8_t bits;
};

constexpr float kLargestE4m3 = 448;

ICONFACE_INLINE float to_float(e4m3 v) {
  if ((v.bits & 0x7f) == 0x7f) return __builtin_nanf("");
  // Exponent and mantissa move to a float's places; a factor of 2^(127 - 7) makes up for the difference of the biases.
  const uint32_t u = static_cast<uint32_t>(v.bits & 0x80) << 24 | static_cast<uint32_t>(v.bits & 0x7f) << 20;
  float f;
  memcpy(&f, &u, 4);
  return f * 0x1p120f;
}

/// Rounds to nearest even. Larger numbers and infinities become 448, NaN becomes 0x7f, as the GPU's cvt.rn.satfinite.
ICONFACE_INLINE e4m3 to_e4m3(float v) {
  uint32_t u;
  memcpy(&u, &v, 4);
  const uint32_t sign = u >> 24 & 0x80, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return {0x7f};
  uint32_t code;
  if (magnitude < 121u << 23) {  // below 2^-6: adding 2^23 rounds v * 2^9 to an integer
    const float shifted = __builtin_fabsf(v) * 0x1p9f + 0x1p23f;
    memcpy(&code, &shifted, 4);
    code &= 15;
  } else {
    const uint32_t rounded = (magnitude + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
    code = rounded - (120 << 3) < 0x7e ? rounded - (120 << 3) : 0x7e;
  }
  return {static_cast<uint8_t>(sign | code)};
}

}  // namespace iconface
