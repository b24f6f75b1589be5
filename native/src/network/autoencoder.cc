#include "network/autoencoder.h"

#include <algorithm>

#include "base/error.h"
#include "op/attention.h"
#include "op/conv2d.h"
#include "op/group_norm_silu.h"
#include "op/linear.h"
#include "op/pack_latents.h"
#include "op/to_channels_last.h"
#include "runtime/planning.h"

namespace iconface {

namespace {
constexpr int64_t kMaxLevels = 16;
}

/// The current feature map, F32, in one of two buffers; a layer writes the other one and swaps.
class Autoencoder::Maps {
 public:
  Maps(Context& ctx, const int64_t (&elements)[2])
      : buffers_{ctx.workspace.tensor(DType::F32, {elements[0]}), ctx.workspace.tensor(DType::F32, {elements[1]})} {}

  /// Buffers as large as `pass(ctx, maps)` needs them, which is known after it has been planned with two of any size.
  /// They differ: the last level's blocks are half as wide as what it was upsampled from.
  template <class Pass>
  static Maps for_pass(Context& ctx, const Pass& pass) {
    Context uncounted = ctx;  // the pass is planned and counted again, in buffers of their final size
    uncounted.meter = nullptr;
    int64_t needed[2];
    planned_bytes(uncounted, [&](Context& planning) {
      Maps any(planning, {kAnySize, kAnySize});
      pass(planning, any);
      std::copy_n(any.needed_, 2, needed);
    });
    return Maps(ctx, needed);
  }

  const Tensor& map() const { return map_; }
  int64_t height() const { return map_.shape[1]; }
  int64_t width() const { return map_.shape[2]; }
  int64_t channels() const { return map_.shape[3]; }
  Tensor other(int64_t height, int64_t width, int64_t channels) {
    int64_t& needed = needed_[1 - current_];
    needed = std::max(needed, height * width * channels);
    return Tensor::of(buffers_[1 - current_].data, DType::F32, {1, height, width, channels});
  }
  void swap_to(const Tensor& map) {
    map_ = map;
    current_ = map.data == buffers_[1].data ? 1 : 0;
  }

 private:
  static constexpr int64_t kAnySize = int64_t{1} << 48;  // two of them leave room in a planning workspace

  Tensor buffers_[2];
  int64_t needed_[2] = {0, 0};
  Tensor map_;
  int current_ = 1;  // before the first map; one outside both buffers (the picture) counts as in buffer 0
};

// ---- reading the weights
// ------------------------------------------------------------------------------------------------

Autoencoder::Convolution Autoencoder::read_convolution(Context& ctx, Weights& w, const std::string& name,
                                                       DType compute) const {
  const Tensor stored = w.get(name + ".weight");
  if ((stored.rank != 4 || stored.shape[2] != stored.shape[3]) && stored.rank != 2)
    fail(Code::InvalidCheckpoint, "tensor %s.weight must be [out, in, side, side], not %s", name.c_str(),
         stored.describe().c_str());
  const int64_t out = stored.shape[0], in = stored.shape[1], side = stored.rank == 4 ? stored.shape[2] : 1;
  const Tensor weight = w.allocate(compute, {out, side, side, in});
  op::to_channels_last(ctx, {.weight = stored.reshape({out, in, side, side}), .out = weight});
  w.release(name + ".weight");
  return {weight, w.f32(ctx, name + ".bias", {out})};
}

Autoencoder::Norm Autoencoder::read_norm(Context& ctx, Weights& w, const std::string& name) const {
  return {w.f32(ctx, name + ".weight", {-1}), w.f32(ctx, name + ".bias", {-1})};
}

Autoencoder::ResnetBlock Autoencoder::read_block(Context& ctx, Weights& w, const std::string& name) const {
  ResnetBlock b{read_norm(ctx, w, name + ".norm1"),
                read_norm(ctx, w, name + ".norm2"),
                read_convolution(ctx, w, name + ".conv1", compute_),
                read_convolution(ctx, w, name + ".conv2", compute_),
                {}};
  if (w.has(name + ".nin_shortcut.weight")) b.shortcut = read_convolution(ctx, w, name + ".nin_shortcut", DType::F32);
  return b;
}

Autoencoder::Half Autoencoder::read_half(Context& ctx, Weights& w, const std::string& name, const char* levels,
                                         const char* resample) const {
  Half h;
  h.conv_in = read_convolution(ctx, w, name + ".conv_in", DType::F32);
  for (int i = 0;; i++) {
    const std::string level = name + "." + levels + "." + std::to_string(i);
    if (!w.has(level + ".block.0.conv1.weight")) break;
    Level l;
    for (int j = 0; w.has(level + ".block." + std::to_string(j) + ".conv1.weight"); j++)
      l.blocks.push_back(read_block(ctx, w, level + ".block." + std::to_string(j)));
    if (w.has(level + "." + resample + ".conv.weight"))
      l.resample = read_convolution(ctx, w, level + "." + resample + ".conv", compute_);
    h.levels.push_back(std::move(l));
  }
  if (h.levels.empty()) fail(Code::InvalidCheckpoint, "the autoencoder has no tensors %s.%s.*", name.c_str(), levels);
  h.mid1 = read_block(ctx, w, name + ".mid.block_1");
  h.mid2 = read_block(ctx, w, name + ".mid.block_2");
  h.attention = {read_norm(ctx, w, name + ".mid.attn_1.norm"),
                 read_convolution(ctx, w, name + ".mid.attn_1.q", DType::F32),
                 read_convolution(ctx, w, name + ".mid.attn_1.k", DType::F32),
                 read_convolution(ctx, w, name + ".mid.attn_1.v", DType::F32),
                 read_convolution(ctx, w, name + ".mid.attn_1.proj_out", DType::F32)};
  h.norm_out = read_norm(ctx, w, name + ".norm_out");
  h.conv_out = read_convolution(ctx, w, name + ".conv_out", DType::F32);
  return h;
}

Autoencoder::Autoencoder(Context& ctx, Weights& w, const CheckpointSpec& spec, DType compute)
    : compute_(compute),
      groups_(static_cast<int>(spec.number("vae.groups", 32))),
      bn_eps_(static_cast<float>(spec.number("vae.bnEps", 1e-4))) {
  encoder_ = read_half(ctx, w, "vae.encoder", "down", "downsample");
  decoder_ = read_half(ctx, w, "vae.decoder", "up", "upsample");
  if (encoder_.levels.size() != decoder_.levels.size() || levels() > kMaxLevels)
    fail(Code::InvalidCheckpoint, "the autoencoder's halves must have the same levels, at most %lld, not %zu and %zu",
         static_cast<long long>(kMaxLevels), encoder_.levels.size(), decoder_.levels.size());
  encoder_.quant = read_convolution(ctx, w, "vae.encoder.quant_conv", DType::F32);
  decoder_.quant = read_convolution(ctx, w, "vae.decoder.post_quant_conv", DType::F32);
  z_channels_ = decoder_.quant.out();
  mean_ = w.f32(ctx, "vae.bn.running_mean", {4 * z_channels_});
  var_ = w.f32(ctx, "vae.bn.running_var", {4 * z_channels_});
}

// ---- layers
// -------------------------------------------------------------------------------------------------------------

void Autoencoder::convolve(Context& ctx, const Convolution& c, Maps& m, int stride, int upsample) const {
  const int side = static_cast<int>(c.weight.shape[1]);
  // Downsampling pads right and bottom only; everything else pads all around.
  const int before = stride == 2 ? 0 : side / 2, after = side / 2;
  const int64_t height = m.height() * upsample / stride, width = m.width() * upsample / stride;
  const Tensor out = m.other(height, width, c.out());
  op::conv2d(ctx, {.x = m.map(),
                   .weight = c.weight,
                   .out = out,
                   .bias = c.bias,
                   .stride = stride,
                   .pad_top = before,
                   .pad_left = before,
                   .pad_bottom = after,
                   .pad_right = after,
                   .upsample = upsample,
                   .compute = c.weight.dtype});
  m.swap_to(out);
}

/// A 3x3 convolution of the same size that reads `x` itself, not the current map.
static op::Conv2dArgs same_size(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out) {
  return {.x = x,
          .weight = weight,
          .out = out,
          .bias = bias,
          .pad_top = 1,
          .pad_left = 1,
          .pad_bottom = 1,
          .pad_right = 1,
          .compute = weight.dtype};
}

/// conv_out(silu(norm_out(x))): the end of either half.
void Autoencoder::finish(Context& ctx, const Half& h, const Maps& m, const Tensor& out) const {
  Workspace::Frame frame(ctx.workspace);
  const Tensor y = ctx.workspace.tensor(h.conv_out.weight.dtype, {1, m.height(), m.width(), m.channels()});
  op::group_norm_silu(
      ctx, {.x = m.map(), .out = y, .weight = h.norm_out.weight, .bias = h.norm_out.bias, .groups = groups_});
  op::conv2d(ctx, same_size(y, h.conv_out.weight, h.conv_out.bias, out));
}

/// x + conv2(silu(norm2(conv1(silu(norm1(x)))))), x through a 1x1 convolution where the width changes.
void Autoencoder::resnet_block(Context& ctx, const ResnetBlock& b, Maps& m) const {
  ctx.check_cancelled();
  Workspace::Frame frame(ctx.workspace);
  const int64_t height = m.height(), width = m.width(), out = b.conv1.out();
  const Tensor h = ctx.workspace.tensor(DType::F32, {1, height, width, out});
  const Tensor y = ctx.workspace.tensor(compute_, {1, height, width, std::max(m.channels(), out)});
  const Tensor y1 = Tensor::of(y.data, compute_, {1, height, width, m.channels()});
  const Tensor y2 = Tensor::of(y.data, compute_, {1, height, width, out});
  op::group_norm_silu(ctx,
                      {.x = m.map(), .out = y1, .weight = b.norm1.weight, .bias = b.norm1.bias, .groups = groups_});
  op::conv2d(ctx, same_size(y1, b.conv1.weight, b.conv1.bias, h));
  op::group_norm_silu(ctx, {.x = h, .out = y2, .weight = b.norm2.weight, .bias = b.norm2.bias, .groups = groups_});
  if (b.shortcut.weight.defined()) convolve(ctx, b.shortcut, m, 1, 1);
  op::Conv2dArgs conv2 = same_size(y2, b.conv2.weight, b.conv2.bias, m.map());
  conv2.residual = m.map();
  op::conv2d(ctx, conv2);
}

/// x + proj(attention(norm(x))), one head over all pixels.
void Autoencoder::attention(Context& ctx, const MiddleAttention& a, Maps& m) const {
  Workspace::Frame frame(ctx.workspace);
  const int64_t pixels = m.height() * m.width(), C = m.channels();
  auto tokens = [&] { return ctx.workspace.tensor(DType::F32, {pixels, C}); };
  const Tensor y = tokens(), q = tokens(), k = tokens(), v = tokens();
  op::group_norm_silu(ctx, {.x = m.map(),
                            .out = y.reshape({1, m.height(), m.width(), C}),
                            .weight = a.norm.weight,
                            .bias = a.norm.bias,
                            .groups = groups_,
                            .silu = false});
  auto project = [&](const Convolution& c, const Tensor& out) {
    op::linear(ctx, {.x = y, .weight = c.weight.reshape({C, C}), .out = out, .bias = c.bias});
  };
  project(a.q, q);
  project(a.k, k);
  project(a.v, v);
  auto one_head = [&](const Tensor& t) { return t.reshape({pixels, 1, C}); };
  op::AttentionArgs args;
  args.segments = 1;
  args.segment[0] = {.q = one_head(q), .out = one_head(y), .k = one_head(k), .v = one_head(v)};
  op::attention(ctx, args);
  op::linear(ctx, {.x = y,
                   .weight = a.proj.weight.reshape({C, C}),
                   .out = m.map().reshape({pixels, C}),
                   .bias = a.proj.bias,
                   .accumulate = true});
}

void Autoencoder::middle(Context& ctx, const std::string& name, const Half& h, Maps& m) const {
  resnet_block(ctx, h.mid1, m);
  ctx.note(name + ".mid.block_1", m.map());
  attention(ctx, h.attention, m);
  ctx.note(name + ".mid.attn_1", m.map());
  resnet_block(ctx, h.mid2, m);
  ctx.note(name + ".mid.block_2", m.map());
}

// ---- the two directions
// ---------------------------------------------------------------------------------------------------

void Autoencoder::encode(Context& ctx, const Tensor& image, const Tensor& tokens) const {
  Workspace::Frame frame(ctx.workspace);
  const auto pass = [&](Context& c, Maps& m) { encode(c, m, image, tokens); };
  Maps m = Maps::for_pass(ctx, pass);
  pass(ctx, m);
}

void Autoencoder::encode(Context& ctx, Maps& m, const Tensor& image, const Tensor& tokens) const {
  m.swap_to(image.reshape({1, image.shape[0], image.shape[1], image.shape[2]}));
  convolve(ctx, encoder_.conv_in, m, 1, 1);
  for (size_t i = 0; i < encoder_.levels.size(); i++) {
    const Level& level = encoder_.levels[i];
    const std::string name = "enc.down." + std::to_string(i);
    for (const ResnetBlock& b : level.blocks) resnet_block(ctx, b, m);
    ctx.note(name + ".blocks", m.map());
    if (level.resample.weight.defined()) {
      convolve(ctx, level.resample, m, 2, 1);
      ctx.note(name + ".downsample", m.map());
    }
  }
  middle(ctx, "enc", encoder_, m);
  const Tensor moments = m.other(m.height(), m.width(), encoder_.conv_out.out());
  finish(ctx, encoder_, m, moments);
  m.swap_to(moments);
  convolve(ctx, encoder_.quant, m, 1, 1);
  ctx.note("enc.moments", m.map());
  op::pack_latents(ctx, {.map = m.map().select(0, 0), .tokens = tokens, .mean = mean_, .var = var_, .eps = bn_eps_});
}

void Autoencoder::decode(Context& ctx, const Tensor& tokens, int64_t rows, int64_t columns, const Tensor& image) const {
  Workspace::Frame frame(ctx.workspace);
  const auto pass = [&](Context& c, Maps& m) { decode(c, m, tokens, rows, columns, image); };
  Maps m = Maps::for_pass(ctx, pass);
  pass(ctx, m);
}

void Autoencoder::decode(Context& ctx, Maps& m, const Tensor& tokens, int64_t rows, int64_t columns,
                         const Tensor& image) const {
  const Tensor latents = m.other(2 * rows, 2 * columns, z_channels_);
  op::pack_latents(
      ctx,
      {.map = latents.select(0, 0), .tokens = tokens, .mean = mean_, .var = var_, .eps = bn_eps_, .inverse = true});
  m.swap_to(latents);
  ctx.note("dec.latents", m.map());
  convolve(ctx, decoder_.quant, m, 1, 1);
  ctx.note("dec.post_quant_conv", m.map());
  convolve(ctx, decoder_.conv_in, m, 1, 1);
  ctx.note("dec.conv_in", m.map());
  middle(ctx, "dec", decoder_, m);
  for (size_t i = decoder_.levels.size(); i-- > 0;) {
    const Level& level = decoder_.levels[i];
    const std::string name = "dec.up." + std::to_string(i);
    for (const ResnetBlock& b : level.blocks) resnet_block(ctx, b, m);
    ctx.note(name + ".blocks", m.map());
    if (level.resample.weight.defined()) {
      convolve(ctx, level.resample, m, 1, 2);
      ctx.note(name + ".upsample", m.map());
    }
  }
  finish(ctx, decoder_, m, image.reshape({1, image.shape[0], image.shape[1], image.shape[2]}));
}

}  // namespace iconface
