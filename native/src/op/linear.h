// linear: out = epilogue(x W^T)                                                        spec 3 and 5
#pragma once
#include "op/segments.h"
#include "runtime/context.h"

namespace iconface::op {

enum class Activation {
  None,
  Silu,    // v * sigmoid(v)
  Swiglu,  // W is [2N, K]: out = silu(x W[0:N]^T) * (x W[N:2N]^T)
};

/// Computes in x's type: f32 is the exact path, bf16 multiplies bf16 and accumulates in f32. Weights may be F32, BF16
/// or F16 whatever x is; they are converted while they are packed, so a mapped file needs no second copy.
/// F8_E4M3 x and weight, with the scales of quantise_rows, are multiplied in 8 bits and accumulated in f32; the products of a
/// row of x and one of W are x_scale weight_scale times their sum, and the rest is as in the other types.
struct LinearArgs {
  Tensor x;          // [..., tokens, K] F32, BF16 or F8_E4M3, rows may be strided
  Tensor weight;     // [N, K] ([2N, K] for Swiglu) F32, BF16 or F16, rows may be strided; F8_E4M3 if x is
  Tensor out;        // [..., tokens, N] F32 or BF16, rows may be strided; must not overlap x
  Tensor bias = {};  // [N] ([2N] for Swiglu) F32, optional; added before the activation
  Activation activation = Activation::None;
  Segmented gate = {};       // optional: out += gate * value; x and out are [batch, tokens, .], out F32
  bool accumulate = false;   // out += value
  Tensor x_scale = {};       // F8_E4M3: [..., tokens, 1] F32, may be strided
  Tensor weight_scale = {};  // F8_E4M3: [N, 1] ([2N, 1] for Swiglu) F32, contiguous
};
/// @throws InvalidArgument naming the tensor and both shapes when they do not fit; Unsupported for F8_E4M3 on GPUs older
/// than sm_89
void linear(Context&, const LinearArgs&);

}  // namespace iconface::op
