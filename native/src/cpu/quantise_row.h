// One row of numbers as e4m3 and a scale (op/quantise_rows.h).
#pragma once
#include <algorithm>
#include <cstring>

#include "base/e4m3.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

template <class T>
void quantise_row(const T* x, e4m3* out, float* scale, int64_t n) {
  // Magnitudes compare as their bits do, an infinity and NaN above all others.
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; i++) {
    const float v = load1(x + i);
    uint32_t u;
    memcpy(&u, &v, 4);
    largest = std::max(largest, u & 0x7fffffff);
  }
  float magnitude;
  memcpy(&magnitude, &largest, 4);
  if (largest >= 0x7f800000) {
    *scale = __builtin_nanf("");
    std::fill(out, out + n, to_e4m3(*scale));
    return;
  }
  *scale = std::max(magnitude / kLargestE4m3, 0x1p-126f);
  for (int64_t i = 0; i < n; i++) out[i] = to_e4m3(load1(x + i) / *scale);
}

}  // namespace iconface::cpu::ICONFACE_ISA
