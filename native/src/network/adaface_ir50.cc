#include "network/adaface_ir50.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "op/batch_norm_prelu.h"
#include "op/conv2d.h"
#include "op/linear.h"
#include "op/subsample.h"
#include "op/to_channels_last.h"

namespace iconface {

namespace {
int64_t halved(int64_t n, int stride) { return (n + stride - 1) / stride; }
}  // namespace

AdaFace::Affine AdaFace::read_norm(Context& ctx, Weights& w, const std::string& name) const {
  const FoldedNorm n = fold_norm(w, name, true);
  const auto channels = static_cast<int64_t>(n.scale.size());
  return {w.keep(ctx, n.scale, {channels}), w.keep(ctx, n.shift, {channels})};
}

/// Tensors do not say where the strides are: every stage's first block has stride 2. Stages begin where the width
/// changes, unless `face.stageUnits` gives the blocks of each.
std::set<size_t> AdaFace::stage_starts(const CheckpointSpec& spec) const {
  std::set<size_t> starts;
  const auto units = spec.numbers.find("face.stageUnits");
  if (units != spec.numbers.end()) {
    size_t next = 0;
    for (double n : units->second) {
      if (!(n >= 1 && n <= 1000) || n != std::floor(n))
        fail(Code::InvalidCheckpoint, "face.stageUnits must be whole numbers of blocks, not %g", n);
      if (next < body_.size()) starts.insert(next);
      next += static_cast<size_t>(n);
    }
    if (next != body_.size())
      fail(Code::InvalidCheckpoint, "face.stageUnits add up to %zu blocks, the encoder has %zu", next, body_.size());
    return starts;
  }
  for (size_t i = 0; i < body_.size(); i++)
    if (i == 0 || body_[i].conv2.out() != body_[i - 1].conv2.out()) starts.insert(i);
  return starts;
}

AdaFace::AdaFace(Context& ctx, Weights& w, const CheckpointSpec& spec) {
  input_ = read_convolution(ctx, w, "face.input_layer.0", "face.input_layer.1");
  input_slope_ = w.f32(ctx, "face.input_layer.2.weight", {input_.out()});
  int64_t channels = input_.out();
  for (int i = 0;; i++) {
    const std::string name = "face.body." + std::to_string(i), residual = name + ".res_layer.";
    if (!w.has(residual + "1.weight")) break;
    Block b;
    b.norm = read_norm(ctx, w, residual + "0");
    b.conv1 = read_convolution(ctx, w, residual + "1", residual + "2");
    b.slope = w.f32(ctx, residual + "3.weight", {b.conv1.out()});
    b.conv2 = read_convolution(ctx, w, residual + "4", residual + "5");
    if (w.has(name + ".shortcut_layer.0.weight"))
      b.shortcut = read_convolution(ctx, w, name + ".shortcut_layer.0", name + ".shortcut_layer.1");
    channels = b.conv2.out();
    body_.push_back(b);
  }
  if (body_.empty()) fail(Code::InvalidCheckpoint, "the face encoder has no tensors face.body.*");
  const std::set<size_t> starts = stage_starts(spec);
  int64_t side = kSide;
  for (size_t i : starts) {
    body_[i].stride = 2;
    side = halved(side, 2);
  }

  output_norm_ = read_norm(ctx, w, "face.output_layer.0");
  const Tensor linear = w.get("face.output_layer.3.weight", {kEmbedding, channels * side * side});
  const FoldedNorm last = fold_norm(w, "face.output_layer.4", false);
  if (last.scale.size() != kEmbedding)
    fail(Code::InvalidCheckpoint, "face.output_layer.4 must have %lld channels, not %zu",
         static_cast<long long>(kEmbedding), last.scale.size());
  std::vector<float> bias = w.values("face.output_layer.3.bias", {kEmbedding});
  output_weight_ = w.allocate(DType::F32, {kEmbedding, side, side, channels});
  op::to_channels_last(ctx, {.weight = linear.reshape({kEmbedding, channels, side, side}),
                             .out = output_weight_,
                             .scale = w.keep(ctx, last.scale, {kEmbedding})});
  w.release("face.output_layer.3.weight");
  for (size_t i = 0; i < bias.size(); i++) bias[i] = bias[i] * last.scale[i] + last.shift[i];
  output_bias_ = w.keep(ctx, bias, {kEmbedding});
}

/// shortcut(x) + bn(conv2(prelu(bn(conv1(bn(x)))))).
void AdaFace::block(Context& ctx, const Block& b, const Tensor& x, const Tensor& out) const {
  const int64_t height = x.shape[1], width = x.shape[2];
  Workspace::Frame frame(ctx.workspace);
  const Tensor normed = ctx.workspace.tensor(DType::F32, {1, height, width, x.shape[3]});
  const Tensor hidden = ctx.workspace.tensor(DType::F32, {1, height, width, b.conv1.out()});
  op::batch_norm_prelu(ctx, {.x = x, .out = normed, .scale = b.norm.scale, .shift = b.norm.shift});
  op::conv2d(ctx, {.x = normed,
                   .weight = b.conv1.weight,
                   .out = hidden,
                   .bias = b.conv1.bias,
                   .slope = b.slope,
                   .pad_top = 1,
                   .pad_left = 1,
                   .pad_bottom = 1,
                   .pad_right = 1});
  if (b.shortcut.weight.defined())
    op::conv2d(ctx, {.x = x, .weight = b.shortcut.weight, .out = out, .bias = b.shortcut.bias, .stride = b.stride});
  else
    op::subsample(ctx, {.x = x, .out = out, .stride = b.stride});
  op::conv2d(ctx, {.x = hidden,
                   .weight = b.conv2.weight,
                   .out = out,
                   .bias = b.conv2.bias,
                   .residual = out,
                   .stride = b.stride,
                   .pad_top = 1,
                   .pad_left = 1,
                   .pad_bottom = 1,
                   .pad_right = 1});
}

void AdaFace::embed(Context& ctx, const Tensor& face, const Tensor& embedding) const {
  Workspace::Frame frame(ctx.workspace);
  int64_t side = kSide, largest = side * side * input_.out();
  for (const Block& b : body_) {
    side = halved(side, b.stride);
    largest = std::max(largest, side * side * b.conv2.out());
  }
  Tensor buffers[2] = {ctx.workspace.tensor(DType::F32, {largest}), ctx.workspace.tensor(DType::F32, {largest})};
  auto map = [&](int i, int64_t size, int64_t channels) {
    return Tensor::of(buffers[i].data, DType::F32, {1, size, size, channels});
  };

  side = kSide;
  int current = 0;
  Tensor x = map(0, side, input_.out());
  op::conv2d(ctx, {.x = face.reshape({1, kSide, kSide, 3}),
                   .weight = input_.weight,
                   .out = x,
                   .bias = input_.bias,
                   .slope = input_slope_,
                   .pad_top = 1,
                   .pad_left = 1,
                   .pad_bottom = 1,
                   .pad_right = 1});
  ctx.note("input_layer", x);
  for (size_t i = 0; i < body_.size(); i++) {
    ctx.check_cancelled();
    side = halved(side, body_[i].stride);
    const Tensor out = map(1 - current, side, body_[i].conv2.out());
    block(ctx, body_[i], x, out);
    current = 1 - current;
    x = out;
    ctx.note("body_block" + std::to_string(i), x);
  }
  op::batch_norm_prelu(ctx, {.x = x, .out = x, .scale = output_norm_.scale, .shift = output_norm_.shift});
  ctx.note("output_layer_bn", x);
  op::linear(ctx, {.x = x.reshape({1, x.elements()}),
                   .weight = output_weight_.reshape({kEmbedding, x.elements()}),
                   .out = embedding.reshape({1, kEmbedding}),
                   .bias = output_bias_});
}

}  // namespace iconface
