// linear: out = epilogue(x W^T)                                                        model-specification.md 3 and 5
#pragma once
#include "op/qk_norm_rope.h"
#include "op/segments.h"
#include "runtime/context.h"

namespace iconface::op {

enum class Activation {
  None,
  Silu,    // v * sigmoid(v)
  Swiglu,  // W is [2N, K]: out = silu(x W[0:N]^T) * (x W[N:2N]^T)
};

/// The first columns of out are heads of d channels, normalised and rotated before they are stored, as qk_norm_rope
/// does it with adjacent pairs. model-specification.md 2, 3
struct LinearHeads {
  int64_t q = 0, k = 0;               // how many of each, q first; the columns after them (v) stay as they are
  Tensor q_scale = {}, k_scale = {};  // [d] F32
  Tensor cos = {}, sin = {};          // [tokens, d/2] F32
  bool defined() const { return q != 0 || k != 0; }
  int64_t d() const { return 2 * cos.last(); }
};

/// Computes in x's type: f32 is the exact path, bf16 multiplies bf16 and accumulates in f32. Weights may be F32, BF16
/// or F16 whatever x is; they are converted while they are packed, so a mapped file needs no second copy.
/// F8_E4M3 x and weight, with the scales of quantise_rows, are multiplied in 8 bits and accumulated in f32; the
/// products of a row of x and one of W are x_scale weight_scale times their sum, and the rest is as in the other types.
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
  LinearHeads heads = {};    // optional: x and out are [(batch,) tokens, .]; no activation, gate or accumulate
};
/// @throws InvalidArgument naming the tensor and both shapes when they do not fit; Unsupported for F8_E4M3 on GPUs
/// older than sm_89
void linear(Context&, const LinearArgs&);

/// Products at once, none of which reads what another writes: x of one type, everything else may differ. A GPU makes
/// them in one launch, so that those of few rows, such as the text's, fill the machine together with those of many.
struct LinearGroup {
  static constexpr int kMax = 4;
  int count = 0;
  std::array<LinearArgs, kMax> product;
};
/// @throws as linear; InvalidArgument for no product, too many, or x of several types
void grouped_linear(Context&, const LinearGroup&);

/// What remains to be done to out for `heads`, by a device whose product has not done it.
QkNormRopeArgs qk_norm_rope_of(const LinearArgs&);

}  // namespace iconface::op
