// pack_latents: latents of the autoencoder to tokens, and back.                                model-specification.md 2
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// VAE latents to tokens and back. Forward: moments' mean (the first C channels) [H, W, >=C], 2x2 space-to-depth with
/// channel order (c, row, column), then (v - mean) / sqrt(var + eps) -> tokens [H/2 * W/2, 4C]. Inverse undoes both.
struct PackLatentsArgs {
  Tensor map;        // [H, W, >= C] F32
  Tensor tokens;     // [H/2 * W/2, 4C] F32
  Tensor mean, var;  // [4C] F32
  float eps = 1e-4f;
  bool inverse = false;  // tokens -> map
};
void pack_latents(Context&, const PackLatentsArgs&);

}  // namespace iconface::op
