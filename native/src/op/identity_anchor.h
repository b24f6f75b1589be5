// identity_anchor: raw face embeddings to the one unit vector that stands for the person.
// model-specification.md 4, Eq. 3-4
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// e_r = z_r / |z_r|, q_r = |z_r|, w = softmax(log q / T), anchor = Norm(sum_r w_r e_r), in double.
/// A zero embedding (norm <= 1e-12) gets weight 0; when nothing is left, or the sum vanishes, the anchor is zero.
struct IdentityAnchorArgs {
  Tensor embeddings;       // [R, N] F32, raw
  double temperature = 1;  // > 0
  Tensor anchor;           // [N] F32
  Tensor norms, weights;   // [R] F32
};
void identity_anchor(Context&, const IdentityAnchorArgs&);

}  // namespace iconface::op
