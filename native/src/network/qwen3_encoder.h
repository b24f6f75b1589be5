// Qwen3Encoder, the text encoder: token ids to the hidden states of some of its layers.        model-specification.md 7
#pragma once
#include <vector>

#include "network/weights.h"

namespace iconface {

struct Qwen3Config {
  int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, mlp = 0, layers = 0;
  std::vector<int64_t> output_layers;  // hidden states after so many layers
  double theta = 1e6;                  // of RoPE

  /// Sizes from the tensors' shapes; output layers and theta from the numbers `text.outputLayers`, `text.ropeTheta`.
  static Qwen3Config read(Weights&, const CheckpointSpec&);
};

class Qwen3Encoder {
 public:
  /// Tensors `text.embed_tokens.weight`, `text.layers.<i>.…`, `text.norm.weight`: published names without `model.`.
  /// Layers above the last output layer are not needed.
  Qwen3Encoder(Context&, Weights&, const CheckpointSpec&, DType compute);

  const Qwen3Config& config() const { return config_; }
  int64_t width() const { return static_cast<int64_t>(config_.output_layers.size()) * config_.hidden; }

  /// ids [tokens] I32, of which the first `real` are text and the others padding -> out [tokens, width()] F32: the
  /// hidden states after each output layer, side by side. The last layer's is the final norm's; the others are the raw
  /// residual stream. Padding is computed too (the image transformer reads it): it sees all of the text and no padding.
  ///
  /// Weights are read layer by layer from the mapped file, and their pages let go: few of them are resident at a time.
  void encode(Context&, const Tensor& ids, int64_t real, const Tensor& out) const;

 private:
  struct Layer {
    Tensor attention_norm, query, key, value, query_norm, key_norm, projection;
    Tensor mlp_norm, mlp_gate, mlp_up, mlp_down;
    std::vector<Tensor> matrices() const { return {query, key, value, projection, mlp_gate, mlp_up, mlp_down}; }
  };
  Layer read_layer(Context&, Weights&, int64_t index) const;
  /// x += attention, x += mlp on the residual stream [1, tokens, hidden] F32.
  void attend(Context&, const Layer&, const Tensor& cos, const Tensor& sin, int64_t real, const Tensor& x) const;
  void mlp(Context&, const Layer&, const Tensor& x) const;

  Qwen3Config config_;
  DType compute_;
  const Weights& weights_;
  Tensor table_, final_norm_;
  std::vector<Layer> layers_;
};

}  // namespace iconface
