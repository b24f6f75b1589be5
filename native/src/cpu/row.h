// Rows of a token stream in f32: reading one of any floating type, LayerNorm's statistics, dot products. Every sum runs
// in kLanes x 4 partial sums of fixed order, which is deterministic and keeps the rounding of 3,072 terms near 1e-7.
#pragma once
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

/// out[0..n) = row as f32; `row` holds F32, BF16 or F16.
inline void widen_row(const void* row, DType dtype, float* out, int64_t n) {
  const auto copy = [&](auto* from) {
    for (int64_t i = 0; i < n; i += kLanes) store_some(out + i, load_some(from + i, n - i), n - i);
  };
  if (dtype == DType::F32) {
    copy(static_cast<const float*>(row));
  } else if (dtype == DType::BF16) {
    copy(static_cast<const bf16*>(row));
  } else {
    copy(static_cast<const f16*>(row));
  }
}

/// Sum over i of f(i, lanes), i in steps of kLanes; f must return zero in lanes from `lanes` on.
template <class Term>
ICONFACE_INLINE float sum_terms(int64_t n, Term f) {
  F partial[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
    for (int j = 0; j < 4; j++) partial[j] += f(i + j * kLanes, static_cast<int64_t>(kLanes));
  for (; i < n; i += kLanes) partial[0] += f(i, n - i);
  return sum((partial[0] + partial[1]) + (partial[2] + partial[3]));
}

ICONFACE_INLINE float dot(const float* a, const float* b, int64_t n) {
  return sum_terms(n, [&](int64_t i, int64_t lanes) { return load_some(a + i, lanes) * load_some(b + i, lanes); });
}

struct Moments {
  float mean, inverse_deviation;
};
constexpr float kLayerNormEpsilon = 1e-6f;

/// LayerNorm's statistics (biased variance, eps inside the root), in two passes: the row is in the cache by then, and
/// the one-pass formula cancels where the mean is large.
template <class T>
ICONFACE_INLINE Moments moments(const T* row, int64_t n) {
  const float mean =
      sum_terms(n, [&](int64_t i, int64_t lanes) { return load_some(row + i, lanes); }) / static_cast<float>(n);
  const float squares = sum_terms(n, [&](int64_t i, int64_t lanes) {
    const F centred = first_lanes(load_some(row + i, lanes) - mean, lanes);
    return centred * centred;
  });
  return {mean, 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + kLayerNormEpsilon)};
}

}  // namespace iconface::cpu::ICONFACE_ISA
