// Token segments: text and image rows of one stream get different modulation (model-specification.md 4: the
// identity anchor moves image tokens only), without being copied apart.
#pragma once
#include <array>

#include "base/tensor.h"

namespace iconface::op {

/// One vector per run of tokens. In a tensor [batch, tokens, channels] the first `rows[0]` tokens of every batch item
/// take `vector[0]`, the next `rows[1]` take `vector[1]`, ...; the rows add up to `tokens`. Vectors are F32 [channels].
struct Segmented {
  static constexpr int kMax = 4;
  int count = 0;
  std::array<int64_t, kMax> rows{};
  std::array<Tensor, kMax> vector{};

  bool defined() const { return count > 0; }
  /// The whole stream takes one vector.
  static Segmented all(int64_t tokens, const Tensor& vector) { return {1, {tokens}, {vector}}; }
  static Segmented two(int64_t first_rows, const Tensor& first, int64_t rest_rows, const Tensor& rest) {
    return {2, {first_rows, rest_rows}, {first, rest}};
  }
};

}  // namespace iconface::op
