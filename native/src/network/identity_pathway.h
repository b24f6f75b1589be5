// The global identity pathway: one anchor vector to what it adds to the image stream's modulation.
// model-specification.md 4
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
