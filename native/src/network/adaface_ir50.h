// AdaFace, the face encoder: IR-50 or another depth of its kind, channels last.                model-specification.md 7
#pragma once
#include <set>
#include <vector>

#include "network/folded_convolution.h"

namespace iconface {

/// Always f32: the embedding's norm weighs the references, and this is a thousandth of a restore's work.
class AdaFace {
 public:
  static constexpr int64_t kSide = 112, kEmbedding = 512;

  /// Widths and the number of blocks are read from the tensors. Every BatchNorm that follows a convolution is folded
  /// into it.
  AdaFace(Context&, Weights&, const CheckpointSpec&);

  /// face [112, 112, 3] F32, channels B, G, R, in [-1, 1] -> raw embedding [512] F32 (its norm is the quality).
  void embed(Context&, const Tensor& face, const Tensor& embedding) const;

 private:
  struct Affine {
    Tensor scale, shift;  // a BatchNorm with its stored statistics
  };
  struct Block {
    Affine norm;
    Convolution conv1, conv2;  // 3x3, stride 1 and `stride`
    Tensor slope;              // PReLU between them
    Convolution shortcut;      // 1x1 with the stride; undefined: plain subsampling
    int stride = 1;
  };

  Affine read_norm(Context&, Weights&, const std::string& name) const;
  std::set<size_t> stage_starts(const CheckpointSpec&) const;
  void block(Context&, const Block&, const Tensor& x, const Tensor& out) const;

  Convolution input_;
  Tensor input_slope_;
  std::vector<Block> body_;
  Affine output_norm_;
  Tensor output_weight_, output_bias_;  // [512, 7 * 7 * C] in channels-last order, the last BatchNorm folded in
};

}  // namespace iconface
