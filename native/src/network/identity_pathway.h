// IdentityPathway, the global one: from the identity anchor to what it adds to the image stream's modulation (Eq. 5).
// The anchor itself (Eq. 3 and 4) is op/identity_anchor.                                       model-specification.md 4
#pragma once
#include "network/flux2_transformer.h"

namespace iconface {

class IdentityPathway {
 public:
  IdentityPathway(Context&, Weights&, int64_t hidden);

  /// h_id = out(SiLU(in(anchor))); deltas = double(SiLU(h_id)), single(SiLU(h_id)) (Eq. 5). Takes workspace for them.
  IdentityDeltas deltas(Context&, const Tensor& anchor) const;

 private:
  struct Layer {
    Tensor weight, bias;
  };
  int64_t hidden_;
  Layer in_, out_, double_, single_;
};

}  // namespace iconface
