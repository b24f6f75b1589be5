// layer_norm_modulate: LayerNorm without affine, then a shift and a scale for every segment of tokens.
// model-specification.md 3, 4
#pragma once
#include "op/segments.h"
#include "runtime/context.h"

namespace iconface::op {

/// out = (1 + scale) * LN(x) + shift, LN without affine, eps 1e-6, biased variance, statistics in f32 (two passes).
/// Into F8_E4M3 the result is quantised from f32 as quantise_rows does it.
struct LayerNormModulateArgs {
  Tensor x;              // [batch, tokens, D] F32 or BF16
  Tensor out;            // same shape, F32, BF16 or F8_E4M3; may be x
  Segmented shift = {};  // [D] F32 per segment; both or neither: plain LN without them
  Segmented scale = {};
  Tensor out_scale = {};  // F8_E4M3: [batch, tokens, 1] F32, may be strided
};
/// @throws InvalidArgument; Unsupported for F8_E4M3 on GPUs older than sm_89
void layer_norm_modulate(Context&, const LayerNormModulateArgs&);

}  // namespace iconface::op
