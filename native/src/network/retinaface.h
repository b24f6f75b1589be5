// RetinaFace, the face detector: boxes and five landmarks in a photograph. Its backbone is a MobileNet 0.25 or a
// ResNet of basic blocks (ResNet-34); channels last.                                        model-specification.md 7
#pragma once
#include <array>
#include <vector>

#include "network/folded_convolution.h"

namespace iconface {

/// Always f32: boxes are pixels. Widths and the number of blocks are read from the tensors; every BatchNorm is folded
/// into the convolution before it.
class RetinaFace {
 public:
  static constexpr int kLevels = 3, kAnchorsPerCell = 2;

  RetinaFace(Context&, Weights&);

  /// Anchors of a picture: two for each cell of the maps that are 8, 16 and 32 times smaller (rounded up), in the order
  /// level, row, column, size.
  static int64_t anchors(int64_t height, int64_t width);

  /// image [H, W, 3] F32 (see detector_input) -> for every anchor what its box [P, 4] and landmarks [P, 10] differ from
  /// the prior by, and the logits of background and face [P, 2].
  void detect(Context&, const Tensor& image, const Tensor& boxes, const Tensor& logits, const Tensor& landmarks) const;

 private:
  using Levels = std::array<Tensor, kLevels>;  // maps [1, h, w, C]

  /// A block of the backbone, which keeps the sides or halves them.
  struct Block {
    Convolution first;     // 3x3 with the stride; separable: depthwise, its weight [3, 3, C]
    Convolution second;    // residual: 3x3; separable: 1x1
    Convolution shortcut;  // residual: 1x1 with the stride; undefined: x itself
    bool separable = false;
    int stride = 1;
  };
  /// SSH: three branches that see 3x3, 5x5 and 7x7 pixels, side by side.
  struct Branches {
    Convolution conv3, conv5_1, conv5_2, conv7_2, conv7_3;
  };
  struct Head {
    Tensor weight, bias;  // [n, C], [n]
  };

  void read_mobilenet(Context&, Weights&);
  void read_resnet(Context&, Weights&);
  Block read_separable(Context&, Weights&, const std::string& name, int64_t channels, int stride);
  Block read_residual(Context&, Weights&, const std::string& name, int64_t channels, int stride);
  Convolution read(Context&, Weights&, const std::string& conv, const std::string& norm,
                   std::initializer_list<int64_t> shape);
  void read_level(Context&, Weights&, int level, int64_t channels);

  void backbone(Context&, const Tensor& image, const Levels& out) const;
  void stage(Context&, const std::vector<Block>&, Tensor x, const Tensor& out) const;
  void block(Context&, const Block&, const Tensor& x, const Tensor& out) const;
  void pyramid(Context&, const Levels& from, const Levels& out) const;
  void branches(Context&, const Branches&, const Tensor& x, const Tensor& out) const;
  void convolve(Context&, const Convolution&, const Tensor& x, const Tensor& out, float slope, int stride = 1,
                const Tensor& residual = {}) const;
  Tensor slopes(float slope, int64_t channels) const;

  Convolution stem_;
  bool pooled_ = false;                     // ResNet: a 3x3 max-pool after the stem
  std::vector<std::vector<Block>> stages_;  // the last three make the levels
  Convolution lateral_[kLevels], merge_[kLevels - 1];
  Branches branches_[kLevels];
  Head box_[kLevels], class_[kLevels], landmark_[kLevels];
  float body_slope_ = 0, neck_slope_ = 0;  // LeakyReLU; 0: ReLU
  int64_t widest_ = 0;
  Tensor ones_, zeros_, tenths_;  // per channel, for the widest map
};

}  // namespace iconface
