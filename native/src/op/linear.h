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
struct LinearArgs {
  Tensor x;          // [..., tokens, K] F32 or BF16, rows may be strided
  Tensor weight;     // [N, K] ([2N, K] for Swiglu) F32, BF16 or F16, rows may be strided
  Tensor out;        // [..., tokens, N] F32 or BF16, rows may be strided; must not overlap x
  Tensor bias = {};  // [N] ([2N] for Swiglu) F32, optional; added before the activation
  Activation activation = Activation::None;
  Segmented gate = {};      // optional: out += gate * value; x and out are [batch, tokens, .], out F32
  bool accumulate = false;  // out += value
};
/// @throws InvalidArgument naming the tensor and both shapes when they do not fit.
void linear(Context&, const LinearArgs&);

}  // namespace iconface::op
