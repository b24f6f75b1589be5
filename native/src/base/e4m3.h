// F8_E4M3: 1 sign, 4 exponent bits (bias 7) and 3 of mantissa; no infinity, one NaN of each sign; 448 is the largest.
// Numbers below 2^-6 are multiples of 2^-9.
#pragma once
#include <cstdint>
#include <cstring>

#include "base/tensor.h"

namespace iconface {

/// A number as it is stored, in a type of its own so that overloads can tell it from bytes.
struct e4m3 {
  uint8_t bits;
};

constexpr float kLargestE4m3 = 448;

ICONFACE_INLINE float to_float(e4m3 v) {
  if ((v.bits & 0x7f) == 0x7f) return __builtin_nanf("");
  // Its exponent and mantissa where a float has them; what is left is the difference of the biases, 127 - 7.
  const uint32_t u = static_cast<uint32_t>(v.bits & 0x80) << 24 | static_cast<uint32_t>(v.bits & 0x7f) << 20;
  float f;
  memcpy(&f, &u, 4);
  return f * 0x1p120f;
}

/// Rounds to nearest even; what is larger becomes 448, infinities too; NaN becomes 0x7f. As the GPU's cvt.rn.satfinite.
ICONFACE_INLINE e4m3 to_e4m3(float v) {
  uint32_t u;
  memcpy(&u, &v, 4);
  const uint32_t sign = u >> 24 & 0x80, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return {0x7f};
  uint32_t code;
  if (magnitude < 121u << 23) {  // below 2^-6: adding 2^23 rounds multiples of 2^-9 to whole numbers
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
