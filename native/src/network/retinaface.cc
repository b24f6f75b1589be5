#include "network/retinaface.h"

#include <algorithm>

#include "base/error.h"
#include "op/add_upsampled.h"
#include "op/batch_norm_prelu.h"
#include "op/conv2d.h"
#include "op/convert.h"
#include "op/depthwise_conv2d.h"
#include "op/linear.h"
#include "op/max_pool2d.h"
#include "op/transpose.h"

namespace iconface {

namespace {

constexpr float kLeak = 0.1f, kLinear = 1;  // slopes; 0 is ReLU
constexpr int64_t kLeakyUpTo = 64;          // pyramids of at most so many channels leak
constexpr int64_t kFirstStride = 8;         // of the first level's map; every other level doubles it

int64_t divided(int64_t n, int64_t by) { return (n + by - 1) / by; }

std::string entry(const std::string& name, int64_t i) { return name + "." + std::to_string(i); }

Tensor map(Context& ctx, int64_t height, int64_t width, int64_t channels) {
  return ctx.workspace.tensor(DType::F32, {1, height, width, channels});
}

}  // namespace

// ---- weights --------------------------------------------------------------------------------------------------------

RetinaFace::RetinaFace(Context& ctx, Weights& w) {
  w.has("detector.fx.conv1.weight") ? read_resnet(ctx, w) : read_mobilenet(ctx, w);
  for (int i = 0; i < kLevels; i++)
    read_level(ctx, w, i, stages_[stages_.size() - kLevels + static_cast<size_t>(i)].back().second.out());
  neck_slope_ = lateral_[0].out() <= kLeakyUpTo ? kLeak : 0;
  const auto filled = [&](float value) {
    return w.keep(ctx, std::vector<float>(static_cast<size_t>(widest_), value), {widest_});
  };
  ones_ = filled(1);
  zeros_ = filled(0);
  tenths_ = filled(kLeak);
}

Convolution RetinaFace::read(Context& ctx, Weights& w, const std::string& conv, const std::string& norm,
                             std::initializer_list<int64_t> shape) {
  if (w.get(conv + ".weight", shape).elements() == 0)
    fail(Code::InvalidCheckpoint, "%s.weight of the face detector is empty", conv.c_str());
  const Convolution c = read_convolution(ctx, w, conv, norm, shape);
  widest_ = std::max(widest_, c.out());
  return c;
}

/// fx.stage1.0 is the stem, every other fx.stage<s>.<i> a separable unit. Strides are not in the tensors.
void RetinaFace::read_mobilenet(Context& ctx, Weights& w) {
  body_slope_ = kLeak;
  stem_ = read(ctx, w, "detector.fx.stage1.0.0", "detector.fx.stage1.0.1", {-1, 3, 3, 3});
  int64_t channels = stem_.out();
  for (int s = 1; s <= kLevels; s++) {
    stages_.emplace_back();
    const std::string stage = "detector.fx.stage" + std::to_string(s);
    // The first stage halves the sides twice, in its blocks 2 and 4.
    const int64_t first = s == 1 ? 1 : 0, least = s == 1 ? 4 : 0;
    for (int64_t i = first; i <= least || w.has(entry(stage, i) + ".0.0.weight"); i++) {
      const bool halves = s == 1 ? i == 2 || i == 4 : i == 0;
      stages_.back().push_back(read_separable(ctx, w, entry(stage, i), channels, halves ? 2 : 1));
      channels = stages_.back().back().second.out();
    }
  }
}

RetinaFace::Block RetinaFace::read_separable(Context& ctx, Weights& w, const std::string& name, int64_t channels,
                                             int stride) {
  Block b;
  b.separable = true;
  b.stride = stride;
  const Convolution c = read(ctx, w, name + ".0.0", name + ".0.1", {channels, 1, 3, 3});  // [C, 3, 3, 1]
  b.first = {w.allocate(DType::F32, {3, 3, channels}), c.bias};
  op::transpose(ctx, {.x = c.weight.reshape({channels, 9}), .out = b.first.weight.reshape({9, channels})});
  b.second = read(ctx, w, name + ".1.0", name + ".1.1", {-1, channels, 1, 1});
  return b;
}

/// fx.conv1, then fx.layer1 to fx.layer4, of which the last three halve the sides.
void RetinaFace::read_resnet(Context& ctx, Weights& w) {
  pooled_ = true;
  stem_ = read(ctx, w, "detector.fx.conv1", "detector.fx.bn1", {-1, 3, 7, 7});
  int64_t channels = stem_.out();
  for (int s = 1; s <= kLevels + 1; s++) {
    stages_.emplace_back();
    const std::string layer = "detector.fx.layer" + std::to_string(s);
    for (int64_t i = 0; i == 0 || w.has(entry(layer, i) + ".conv1.weight"); i++) {
      stages_.back().push_back(read_residual(ctx, w, entry(layer, i), channels, s > 1 && i == 0 ? 2 : 1));
      channels = stages_.back().back().second.out();
    }
  }
}

RetinaFace::Block RetinaFace::read_residual(Context& ctx, Weights& w, const std::string& name, int64_t channels,
                                            int stride) {
  if (w.has(name + ".conv3.weight"))
    fail(Code::InvalidCheckpoint, "%s is a bottleneck (ResNet-50); face detectors with ResNet-34 or MobileNet work",
         name.c_str());
  Block b;
  b.stride = stride;
  b.first = read(ctx, w, name + ".conv1", name + ".bn1", {-1, channels, 3, 3});
  const int64_t out = b.first.out();
  b.second = read(ctx, w, name + ".conv2", name + ".bn2", {out, out, 3, 3});
  if (stride != 1 || out != channels || w.has(name + ".downsample.0.weight"))
    b.shortcut = read(ctx, w, name + ".downsample.0", name + ".downsample.1", {out, channels, 1, 1});
  return b;
}

/// What belongs to a level whose map has `channels`: its part of the pyramid, its branches, its heads.
void RetinaFace::read_level(Context& ctx, Weights& w, int level, int64_t channels) {
  const std::string number = std::to_string(level + 1), lateral = "detector.fpn.output" + number;
  const int64_t any = level == 0 ? -1 : lateral_[0].out();
  lateral_[level] = read(ctx, w, lateral + ".0", lateral + ".1", {any, channels, 1, 1});
  const int64_t width = lateral_[level].out();
  if (width % 4 != 0)
    fail(Code::InvalidCheckpoint, "%s must make a multiple of 4 channels, not %lld", lateral.c_str(),
         static_cast<long long>(width));
  if (level + 1 < kLevels) {
    const std::string merge = "detector.fpn.merge" + number;
    merge_[level] = read(ctx, w, merge + ".0", merge + ".1", {width, width, 3, 3});
  }
  const auto branch = [&](const char* name, int64_t out, int64_t in) {
    const std::string conv = "detector.ssh" + number + "." + name;
    return read(ctx, w, conv + ".0", conv + ".1", {out, in, 3, 3});
  };
  const int64_t half = width / 2, quarter = width / 4;
  branches_[level] = {branch("conv3X3", half, width), branch("conv5X5_1", quarter, width),
                      branch("conv5X5_2", quarter, quarter), branch("conv7X7_2", quarter, quarter),
                      branch("conv7x7_3", quarter, quarter)};
  const auto head = [&](const std::string& name, int64_t outputs) {
    const std::string conv = entry("detector." + name + "." + name, level);
    return Head{w.get(conv + ".weight", {outputs, width, 1, 1}).reshape({outputs, width}),
                w.f32(ctx, conv + ".bias", {outputs})};
  };
  box_[level] = head("bbox_head", kAnchorsPerCell * 4);
  class_[level] = head("class_head", kAnchorsPerCell * 2);
  landmark_[level] = head("landmark_head", kAnchorsPerCell * 10);
}

// ---- forward --------------------------------------------------------------------------------------------------------

int64_t RetinaFace::anchors(int64_t height, int64_t width) {
  int64_t cells = 0;
  for (int i = 0; i < kLevels; i++) cells += divided(height, kFirstStride << i) * divided(width, kFirstStride << i);
  return kAnchorsPerCell * cells;
}

/// LeakyReLU as the operations take it; undefined where nothing changes.
Tensor RetinaFace::slopes(float slope, int64_t channels) const {
  if (slope == kLinear) return {};
  return (slope == 0 ? zeros_ : tenths_).slice(0, 0, channels);
}

/// out = leaky(conv(x)) + residual, a kernel of k x k padded by k / 2.
void RetinaFace::convolve(Context& ctx, const Convolution& c, const Tensor& x, const Tensor& out, float slope,
                          int stride, const Tensor& residual) const {
  const int pad = static_cast<int>(c.weight.shape[1] / 2);
  op::conv2d(ctx, {.x = x,
                   .weight = c.weight,
                   .out = out,
                   .bias = c.bias,
                   .slope = slopes(slope, c.out()),
                   .residual = residual,
                   .stride = stride,
                   .pad_top = pad,
                   .pad_left = pad,
                   .pad_bottom = pad,
                   .pad_right = pad});
}

/// Separable: leaky(conv1x1(leaky(depthwise(x)))). Residual: relu(conv3x3(relu(conv3x3(x))) + shortcut(x)).
void RetinaFace::block(Context& ctx, const Block& b, const Tensor& x, const Tensor& out) const {
  Workspace::Frame frame(ctx.workspace);
  const int64_t height = out.shape[1], width = out.shape[2];
  if (b.separable) {
    const Tensor hidden = map(ctx, height, width, x.last());
    op::depthwise_conv2d(ctx, {.x = x,
                               .weight = b.first.weight,
                               .out = hidden,
                               .bias = b.first.bias,
                               .slope = slopes(body_slope_, x.last()),
                               .stride = b.stride,
                               .pad = 1});
    convolve(ctx, b.second, hidden, out, body_slope_);
    return;
  }
  const Tensor hidden = map(ctx, height, width, b.first.out());
  convolve(ctx, b.first, x, hidden, body_slope_, b.stride);
  Tensor shortcut = x;
  if (b.shortcut.weight.defined()) {
    shortcut = map(ctx, height, width, b.shortcut.out());
    convolve(ctx, b.shortcut, x, shortcut, kLinear, b.stride);
  }
  convolve(ctx, b.second, hidden, out, kLinear, 1, shortcut);
  const auto of_all = [&](const Tensor& t) { return t.slice(0, 0, out.last()); };
  op::batch_norm_prelu(ctx, {.x = out,
                             .out = out,
                             .scale = of_all(ones_),
                             .shift = of_all(zeros_),
                             .slope = slopes(body_slope_, out.last())});
}

void RetinaFace::stage(Context& ctx, const std::vector<Block>& blocks, Tensor x, const Tensor& out) const {
  Workspace::Frame frame(ctx.workspace);
  for (size_t i = 0; i < blocks.size(); i++) {
    ctx.check_cancelled();
    const int64_t height = divided(x.shape[1], blocks[i].stride), width = divided(x.shape[2], blocks[i].stride);
    const bool last = i + 1 == blocks.size();
    const Tensor y = last ? out : map(ctx, height, width, blocks[i].second.out());
    block(ctx, blocks[i], x, y);
    x = y;
  }
}

/// The maps of the last three stages, 8, 16 and 32 times smaller than the image.
void RetinaFace::backbone(Context& ctx, const Tensor& image, const Levels& out) const {
  Workspace::Frame frame(ctx.workspace);
  int64_t height = divided(image.shape[0], 2), width = divided(image.shape[1], 2);
  Tensor x = map(ctx, height, width, stem_.out());
  convolve(ctx, stem_, image.reshape({1, image.shape[0], image.shape[1], 3}), x, body_slope_, 2);
  size_t first = 0;
  if (pooled_) {
    const Tensor pooled = map(ctx, divided(height, 2), divided(width, 2), stem_.out());
    op::max_pool2d(ctx, {.x = x, .out = pooled, .size = 3, .stride = 2, .pad = 1});
    x = map(ctx, pooled.shape[1], pooled.shape[2], stages_[0].back().second.out());
    stage(ctx, stages_[0], pooled, x);
    first = 1;
  }
  for (size_t i = 0; i < kLevels; i++) stage(ctx, stages_[first + i], i == 0 ? x : out[i - 1], out[i]);
}

/// FPN: every level brought to one width; from the smallest on, each is added to the next larger one and merged.
void RetinaFace::pyramid(Context& ctx, const Levels& from, const Levels& out) const {
  for (size_t i = kLevels; i-- > 0;) {
    convolve(ctx, lateral_[i], from[i], out[i], neck_slope_);
    if (i + 1 == kLevels) continue;
    Workspace::Frame frame(ctx.workspace);
    const Tensor sum = map(ctx, out[i].shape[1], out[i].shape[2], out[i].last());
    op::add_upsampled(ctx, {.x = out[i], .out = sum, .y = out[i + 1]});
    convolve(ctx, merge_[i], sum, out[i], neck_slope_);
  }
}

/// SSH: relu of the branches side by side; those of 5x5 and 7x7 share their first convolution.
void RetinaFace::branches(Context& ctx, const Branches& b, const Tensor& x, const Tensor& out) const {
  Workspace::Frame frame(ctx.workspace);
  const int64_t height = x.shape[1], width = x.shape[2], cells = height * width;
  const Tensor conv3 = map(ctx, height, width, b.conv3.out()), shared = map(ctx, height, width, b.conv5_1.out()),
               conv5 = map(ctx, height, width, b.conv5_2.out()), inner = map(ctx, height, width, b.conv7_2.out()),
               conv7 = map(ctx, height, width, b.conv7_3.out());
  convolve(ctx, b.conv3, x, conv3, 0);
  convolve(ctx, b.conv5_1, x, shared, neck_slope_);
  convolve(ctx, b.conv5_2, shared, conv5, 0);
  convolve(ctx, b.conv7_2, shared, inner, neck_slope_);
  convolve(ctx, b.conv7_3, inner, conv7, 0);
  int64_t channel = 0;
  for (const Tensor& part : {conv3, conv5, conv7}) {
    const int64_t end = channel + part.last();
    op::convert(
        ctx, {.x = part.reshape({cells, part.last()}), .out = out.reshape({cells, out.last()}).slice(1, channel, end)});
    channel = end;
  }
}

void RetinaFace::detect(Context& ctx, const Tensor& image, const Tensor& boxes, const Tensor& logits,
                        const Tensor& landmarks) const {
  Workspace::Frame frame(ctx.workspace);
  const size_t first = stages_.size() - kLevels;
  Levels levels, merged;
  for (size_t i = 0; i < kLevels; i++) {
    const int64_t height = divided(image.shape[0], kFirstStride << i),
                  width = divided(image.shape[1], kFirstStride << i);
    levels[i] = map(ctx, height, width, stages_[first + i].back().second.out());
    merged[i] = map(ctx, height, width, lateral_[i].out());
  }
  backbone(ctx, image, levels);
  for (size_t i = 0; i < kLevels; i++) ctx.note("backbone." + std::to_string(i), levels[i]);
  pyramid(ctx, levels, merged);
  for (size_t i = 0; i < kLevels; i++) ctx.note("fpn." + std::to_string(i), merged[i]);
  int64_t anchor = 0;
  for (size_t i = 0; i < kLevels; i++) {
    ctx.check_cancelled();
    Workspace::Frame level(ctx.workspace);
    const int64_t cells = merged[i].shape[1] * merged[i].shape[2], end = anchor + kAnchorsPerCell * cells;
    const Tensor seen = map(ctx, merged[i].shape[1], merged[i].shape[2], merged[i].last());
    branches(ctx, branches_[i], merged[i], seen);
    ctx.note("ssh." + std::to_string(i), seen);
    const auto head = [&](const Head& h, const Tensor& out) {
      op::linear(ctx, {.x = seen.reshape({cells, seen.last()}),
                       .weight = h.weight,
                       .out = out.slice(0, anchor, end).reshape({cells, kAnchorsPerCell * out.last()}),
                       .bias = h.bias});
    };
    head(box_[i], boxes);
    head(class_[i], logits);
    head(landmark_[i], landmarks);
    anchor = end;
  }
}

}  // namespace iconface
