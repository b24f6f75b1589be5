// Precision: the number types of a model's matrix products.
#pragma once
#include "base/dtype.h"

namespace iconface {

enum class Precision {
  F32,   // f32 products
  BF16,  // bf16 products, f32 sums
  FP8,   // as BF16; the linears of the transformer's blocks multiply e4m3, with a scale for every row of both operands
};

/// The type of tensors between products.
inline DType compute_type(Precision p) { return p == Precision::F32 ? DType::F32 : DType::BF16; }
inline const char* precision_name(Precision p) {
  return p == Precision::F32 ? "f32" : p == Precision::BF16 ? "bf16" : "fp8";
}

}  // namespace iconface
