// rope_table: the angles of rotary embedding, as cosines and sines.                            model-specification.md 2
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// cos/sin of id_a * theta^(-2m/d_a): axis a owns d_a consecutive elements of a head; evaluated in double.
struct RopeTableArgs {
  static constexpr int kMaxAxes = 8;
  Tensor ids;              // [tokens, axes] F32 or I32 (integers)
  int axes_dim[kMaxAxes];  // even, add up to d
  int axes = 0;
  double theta = 2000;
  Tensor cos, sin;  // [tokens, d/2] F32
};
void rope_table(Context&, const RopeTableArgs&);

}  // namespace iconface::op
