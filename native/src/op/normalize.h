// Normalisations of token streams: LayerNorm with modulation, and q/k RMSNorm with rotary embedding.
// model-specification.md 2, 3, 4
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

/// out = x / sqrt(mean(x^2) + 1e-6) * weight, in f32, rounded once at the end.
struct RmsNormArgs {
  Tensor x;       // [..., D] F32 or BF16, rows may be strided
  Tensor out;     // same shape, F32 or BF16; may be x if it has x's type
  Tensor weight;  // [D] F32, BF16 or F16
};
void rms_norm(Context&, const RmsNormArgs&);

/// Which elements of a head are rotated together, in pairs m = 0 .. d/2 - 1.
enum class RopePairs {
  Adjacent,  // (2m, 2m + 1): FLUX
  Halves,    // (m, m + d/2): Qwen3
};

/// In place on q and k: RMSNorm over a head (eps 1e-6 inside the root) times a learned scale, then rotation of the
/// pairs: (e, o) -> (cos e - sin o, sin e + cos o).
struct QkNormRopeArgs {
  Tensor q, k;              // [batch, tokens, H, d] F32 or BF16, strided rows (views into qkv); either may be absent
  Tensor q_scale, k_scale;  // [d] F32, BF16 or F16
  Tensor cos, sin;          // [tokens, d/2] F32
  RopePairs pairs = RopePairs::Adjacent;
};
void qk_norm_rope(Context&, const QkNormRopeArgs&);

/// cos/sin of id_a * theta^(-2m/d_a): axis a owns d_a consecutive elements of a head; evaluated in double.
/// model-specification.md 2
struct RopeTableArgs {
  Tensor ids;       // [tokens, axes] F32 or I32 (integers)
  int axes_dim[8];  // even, add up to d
  int axes = 0;
  double theta = 2000;
  Tensor cos, sin;  // [tokens, d/2] F32
};
void rope_table(Context&, const RopeTableArgs&);

/// Sinusoidal embedding of 1000 t, cosines first, max period 10000, evaluated in double. model-specification.md 3
struct TimestepEmbeddingArgs {
  double timestep;
  Tensor out;  // [dim] F32, dim even
};
void timestep_embedding(Context&, const TimestepEmbeddingArgs&);

/// out = v * sigmoid(v); out = a + b; elementwise on small vectors (modulation).
struct SiluArgs {
  Tensor x, out;  // same shape, F32, contiguous; may be the same
};
void silu(Context&, const SiluArgs&);
struct AddArgs {
  Tensor a, b, out;  // same shape, F32, contiguous; out may be a
};
void add(Context&, const AddArgs&);

}  // namespace iconface::op
