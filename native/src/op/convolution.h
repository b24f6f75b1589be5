// Operations on feature maps, channels last ([batch, height, width, channels]).                model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = act(conv(upsample(x)) + bias) + residual, cross-correlation as in PyTorch.
struct Conv2dArgs {
  Tensor x;              // [B, H, W, C] F32 or BF16, contiguous
  Tensor weight;         // [O, kh, kw, C] F32, BF16 or F16 (channels last: see to_channels_last)
  Tensor out;            // [B, H', W', O] F32 or BF16
  Tensor bias = {};      // [O] F32, optional
  Tensor slope = {};     // [O] F32, optional: PReLU after the bias
  Tensor residual = {};  // [B, H', W', O] F32, optional: added last; may be out
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;  // zeros
  int upsample = 1;                                              // 2: nearest-neighbour before the padding
  DType compute = DType::F32;                                    // F32 or BF16: what is multiplied; sums are f32
};
void conv2d(Context&, const Conv2dArgs&);

/// GroupNorm(groups, eps) with affine, then SiLU unless `silu` is false. Statistics in f32 per chunk of pixels, the chunks joined in double.
struct GroupNormSiluArgs {
  Tensor x;             // [B, H, W, C] F32 or BF16
  Tensor out;           // same shape, F32 or BF16; may be x
  Tensor weight, bias;  // [C] F32
  int groups = 32;
  float eps = 1e-6f;
  bool silu = true;
};
void group_norm_silu(Context&, const GroupNormSiluArgs&);

/// out = x * scale + shift per channel, then PReLU when `slope` is given. BatchNorm with stored statistics is
/// scale = w / sqrt(var + eps), shift = b - mean * scale.
struct BatchNormPreluArgs {
  Tensor x, out;        // [B, H, W, C] F32 or BF16; may be the same
  Tensor scale, shift;  // [C] F32
  Tensor slope = {};    // [C] F32, optional
};
void batch_norm_prelu(Context&, const BatchNormPreluArgs&);

/// Rows and columns 0, s, 2s, ... of x: a 1x1 max-pool with stride s (the shortcut of AdaFace's IR blocks).
struct SubsampleArgs {
  Tensor x, out;  // [B, H, W, C] -> [B, ceil(H/s), ceil(W/s), C], one dtype
  int stride = 2;
};
void subsample(Context&, const SubsampleArgs&);

/// out = act(conv(x) + bias), every channel with a kernel of its own; zeros around the map, cross-correlation as in PyTorch.
struct DepthwiseConv2dArgs {
  Tensor x;           // [B, H, W, C] F32
  Tensor weight;      // [kh, kw, C] F32
  Tensor out;         // [B, H', W', C] F32; not x
  Tensor bias = {};   // [C] F32, optional
  Tensor slope = {};  // [C] F32, optional: PReLU after the bias
  int stride = 1;
  int pad = 0;  // on every side, at most the kernel's larger one
};
void depthwise_conv2d(Context&, const DepthwiseConv2dArgs&);

/// The largest of size x size values, every `stride`; what lies around the map does not count, nor does a NaN.
struct MaxPool2dArgs {
  Tensor x, out;  // [B, H, W, C] -> [B, H', W', C] F32, H' = (H + 2 pad - size) / stride + 1
  int size = 2, stride = 2;
  int pad = 0;  // at most size / 2
};
void max_pool2d(Context&, const MaxPool2dArgs&);

/// out[i, j] = x[i, j] + y[floor(i h / H), floor(j w / W)]: a smaller map enlarged to its nearest neighbours (FPN).
struct AddUpsampledArgs {
  Tensor x, out;  // [B, H, W, C] F32; may be the same
  Tensor y;       // [B, h, w, C] F32, h <= H, w <= W
};
void add_upsampled(Context&, const AddUpsampledArgs&);

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

/// A PyTorch convolution weight [O, C, kh, kw] as [O, kh, kw, C], optionally times scale[o] (a folded BatchNorm).
struct ToChannelsLastArgs {
  Tensor weight;      // [O, C, kh, kw] F32, BF16 or F16
  Tensor out;         // [O, kh, kw, C] F32 or BF16
  Tensor scale = {};  // [O] F32, optional
};
void to_channels_last(Context&, const ToChannelsLastArgs&);

}  // namespace iconface::op
