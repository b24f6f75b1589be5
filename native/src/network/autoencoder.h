// Autoencoder of FLUX.2: pictures to normalised latent tokens and back, channels last.      model-specification.md 2, 7
#pragma once
#include <vector>

#include "network/weights.h"

namespace iconface {

class Autoencoder {
 public:
  /// Widths, levels and blocks are read from the tensors. The 3x3 convolutions inside blocks and between levels compute
  /// in `compute`; what touches the picture, the latents or the residual stream directly (conv_in, conv_out, quant,
  /// shortcuts, attention) stays f32: it is 4 % of the work, and its rounding would reach the result undamped.
  Autoencoder(Context&, Weights&, const CheckpointSpec&, DType compute);

  int64_t latent_channels() const { return 4 * z_channels_; }  // packed 2x2
  int64_t reduction() const { return 2ll << (levels() - 1); }  // image pixels per token side: 16 for four levels
  int64_t levels() const { return static_cast<int64_t>(encoder_.levels.size()); }

  /// image [H, W, 3] F32 in [-1, 1] -> tokens [H/16 * W/16, 4 z] F32: mean of the moments, packed and normalised.
  void encode(Context&, const Tensor& image, const Tensor& tokens) const;
  /// tokens [rows * columns, 4 z] F32 -> image [16 rows, 16 columns, 3] F32, not clamped.
  void decode(Context&, const Tensor& tokens, int64_t rows, int64_t columns, const Tensor& image) const;

 private:
  struct Convolution {
    Tensor weight;  // [O, kh, kw, C]
    Tensor bias;    // [O]
    int64_t out() const { return weight.shape[0]; }
  };
  struct Norm {
    Tensor weight, bias;
  };
  struct ResnetBlock {
    Norm norm1, norm2;
    Convolution conv1, conv2, shortcut;  // shortcut undefined where widths agree
  };
  struct MiddleAttention {
    Norm norm;
    Convolution q, k, v, proj;  // 1x1
  };
  struct Level {
    std::vector<ResnetBlock> blocks;
    Convolution resample;  // down (stride 2) or up (after nearest 2x); undefined at the last level
  };
  struct Half {
    Convolution conv_in;
    std::vector<Level> levels;
    ResnetBlock mid1, mid2;
    MiddleAttention attention;
    Norm norm_out;
    Convolution conv_out, quant;  // quant: 1x1 at the latent side
  };
  class Maps;

  Convolution read_convolution(Context&, Weights&, const std::string& name, DType compute) const;
  Norm read_norm(Context&, Weights&, const std::string& name) const;
  ResnetBlock read_block(Context&, Weights&, const std::string& name) const;
  Half read_half(Context&, Weights&, const std::string& name, const char* levels, const char* resample) const;

  void encode(Context&, Maps&, const Tensor& image, const Tensor& tokens) const;
  void decode(Context&, Maps&, const Tensor& tokens, int64_t rows, int64_t columns, const Tensor& image) const;
  void middle(Context&, const std::string& name, const Half&, Maps&) const;
  void resnet_block(Context&, const ResnetBlock&, Maps&) const;
  void attention(Context&, const MiddleAttention&, Maps&) const;
  void convolve(Context&, const Convolution&, Maps&, int stride, int upsample) const;
  void finish(Context&, const Half&, const Maps&, const Tensor& out) const;

  DType compute_;
  int groups_;
  int64_t z_channels_ = 0;
  float bn_eps_;
  Tensor mean_, var_;  // [4 z]
  Half encoder_, decoder_;
};

}  // namespace iconface
