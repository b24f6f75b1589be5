// Model: a checkpoint in memory, and the networks that its tensors make up.
#pragma once
#include <memory>
#include <string>

#include "network/adaface_ir50.h"
#include "network/autoencoder.h"
#include "network/flow_sampler.h"
#include "network/flux2_transformer.h"
#include "network/identity_pathway.h"
#include "network/precision.h"
#include "network/qwen3_encoder.h"
#include "network/retinaface.h"
#include "network/structure_pathway.h"

namespace iconface {

class Model {
 public:
  /// Maps and checks the files, merges LoRAs, and reads every network whose tensors the checkpoint has.
  Model(Context&, const CheckpointSpec&, Precision);

  const CheckpointSpec spec;
  const Precision precision;
  const DType compute;
  Weights weights;

  std::unique_ptr<Flux2Transformer> transformer;
  std::unique_ptr<StructurePathway> structure;  // exists with the transformer; its parts may be off
  std::unique_ptr<IdentityPathway> identity;
  std::unique_ptr<Autoencoder> autoencoder;
  std::unique_ptr<AdaFace> face;
  std::unique_ptr<Qwen3Encoder> text;
  std::unique_ptr<RetinaFace> detector;

  /// The network, or InvalidCheckpoint naming the part that the checkpoint lacks.
  template <class Network>
  const Network& need(const std::unique_ptr<Network>& network, const char* part) const {
    if (!network) fail_missing(part);
    return *network;
  }

 private:
  [[noreturn]] static void fail_missing(const char* part);
};

}  // namespace iconface
