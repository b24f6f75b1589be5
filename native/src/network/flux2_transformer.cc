#include "network/flux2_transformer.h"

#include "base/error.h"
#include "op/add.h"
#include "op/attention.h"
#include "op/convert.h"
#include "op/layer_norm_modulate.h"
#include "op/linear.h"
#include "op/quantise_rows.h"
#include "op/rope_table.h"
#include "op/silu.h"
#include "op/timestep_embedding.h"

namespace iconface {

namespace {
constexpr int64_t kTimestepChannels = 256;
constexpr double kLargestAxis = 1024;  // of RoPE, channels of a head

/// One vector for text rows, another for image rows.
op::Segmented by_stream(const Conditioning& c, const Tensor& txt, const Tensor& img) {
  return op::Segmented::two(c.text, txt, c.image(), img);
}

/// [batch, tokens, D] as heads: [batch, tokens, H, d].
Tensor heads_of(const Tensor& t, const Flux2Config& f) {
  return t.reshape({t.shape[0], t.shape[1], f.heads, f.head_dim});
}

/// The left operand of products with matrices of one type: numbers as they are, or e4m3 with a scale for every row.
struct Operand {
  Tensor x, scale;
  /// Memory for [branches, tokens, K] in the type of `matrix`, or in `compute`.
  static Operand of(Context& ctx, const Matrix& matrix, DType compute, int64_t branches, int64_t tokens, int64_t k) {
    if (!matrix.scale.defined()) return {ctx.workspace.tensor(compute, {branches, tokens, k}), {}};
    return {ctx.workspace.tensor(DType::F8E4M3, {branches, tokens, k}),
            ctx.workspace.tensor(DType::F32, {branches, tokens, 1})};
  }
  /// Elements [begin, end) of an axis that both have.
  Operand slice(int axis, int64_t begin, int64_t end) const {
    return {x.slice(axis, begin, end), scale.defined() ? scale.slice(axis, begin, end) : Tensor{}};
  }
};
/// x [branches, tokens, K] as the operand of products with `matrix`.
Operand operand(Context& ctx, const Tensor& x, const Matrix& matrix) {
  if (!matrix.scale.defined()) return {x, {}};
  const Operand o = Operand::of(ctx, matrix, x.dtype, x.shape[0], x.shape[1], x.shape[2]);
  op::quantise_rows(ctx, {.x = x, .out = o.x, .scale = o.scale});
  return o;
}

op::LinearArgs product(const Operand& a, const Matrix& matrix, const Tensor& out,
                       op::Activation activation = op::Activation::None, const op::Segmented& gate = {}) {
  return {.x = a.x,
          .weight = matrix.weight,
          .out = out,
          .activation = activation,
          .gate = gate,
          .x_scale = a.scale,
          .weight_scale = matrix.scale};
}
}  // namespace

Flux2Config Flux2Config::read(Weights& w, const CheckpointSpec& spec) {
  Flux2Config f;
  const Tensor img_in = w.get("transformer.img_in.weight", {-1, -1});
  f.hidden = img_in.shape[0];
  f.in_channels = img_in.shape[1];
  f.context = w.get("transformer.txt_in.weight", {f.hidden, -1}).shape[1];
  const auto axes = spec.numbers.find("transformer.ropeAxes");
  if (axes == spec.numbers.end()) fail(Code::InvalidCheckpoint, "the configuration names no RoPE axes");
  f.set_axes(axes->second, Code::InvalidCheckpoint);
  f.theta = spec.number("transformer.ropeTheta", 2000);
  return f;
}

void Flux2Config::set_axes(const std::vector<double>& axes, Code code) {
  for (double n : axes) {
    if (!(n >= 2 && n <= kLargestAxis) || axes.size() > op::RopeTableArgs::kMaxAxes)
      fail(code, "RoPE axes must be at most %d sizes of 2 to %g, not %zu with %g among them",
           op::RopeTableArgs::kMaxAxes, kLargestAxis, axes.size(), n);
    axes_dim.push_back(static_cast<int64_t>(n));
    head_dim += axes_dim.back();
  }
  if (head_dim < 1 || hidden < head_dim || hidden % head_dim != 0)
    fail(code, "RoPE axes add up to %lld, which does not divide the hidden size %lld", static_cast<long long>(head_dim),
         static_cast<long long>(hidden));
  heads = hidden / head_dim;
}

DoubleBlock DoubleBlock::read(Context& ctx, Weights& w, const std::string& prefix, const Flux2Config& f, Precision p) {
  const bool e4m3 = p == Precision::FP8;
  auto stream = [&](const std::string& name) {
    Stream s;
    s.qkv = w.matrix(ctx, prefix + name + "_attn.qkv.weight", {3 * f.hidden, f.hidden}, e4m3);
    s.proj = w.matrix(ctx, prefix + name + "_attn.proj.weight", {f.hidden, f.hidden}, e4m3);
    s.norm.query = w.f32(ctx, prefix + name + "_attn.norm.query_norm.scale", {f.head_dim});
    s.norm.key = w.f32(ctx, prefix + name + "_attn.norm.key_norm.scale", {f.head_dim});
    s.mlp_up = w.matrix(ctx, prefix + name + "_mlp.0.weight", {-1, f.hidden}, e4m3);
    s.mlp_down = w.matrix(ctx, prefix + name + "_mlp.2.weight", {f.hidden, s.mlp_up.weight.shape[0] / 2}, e4m3);
    return s;
  };
  return {stream("img"), stream("txt")};
}

SingleBlock SingleBlock::read(Context& ctx, Weights& w, const std::string& prefix, const Flux2Config& f, Precision p) {
  const bool e4m3 = p == Precision::FP8;
  SingleBlock b;
  const Matrix linear1 = w.matrix(ctx, prefix + "linear1.weight", {-1, f.hidden}, e4m3);
  const int64_t rows = linear1.weight.shape[0], mlp = (rows - 3 * f.hidden) / 2;
  if (mlp < 1)
    fail(Code::InvalidCheckpoint, "tensor %slinear1.weight has only %lld rows", prefix.c_str(),
         static_cast<long long>(rows));
  b.query = linear1.rows(0, f.hidden);
  b.key_value = linear1.rows(f.hidden, 3 * f.hidden);
  b.mlp_up = linear1.rows(3 * f.hidden, rows);
  b.linear2 = w.matrix(ctx, prefix + "linear2.weight", {f.hidden, f.hidden + mlp}, e4m3);
  b.norm.query = w.f32(ctx, prefix + "norm.query_norm.scale", {f.head_dim});
  b.norm.key = w.f32(ctx, prefix + "norm.key_norm.scale", {f.head_dim});
  return b;
}

Flux2Transformer::Flux2Transformer(Context& ctx, Weights& w, const CheckpointSpec& spec, Precision precision)
    : config_(Flux2Config::read(w, spec)), compute_(compute_type(precision)) {
  const Flux2Config& f = config_;
  img_in_ = w.get("transformer.img_in.weight");
  txt_in_ = w.get("transformer.txt_in.weight");
  time_in_ = w.get("transformer.time_in.in_layer.weight", {-1, kTimestepChannels});
  time_out_ = w.get("transformer.time_in.out_layer.weight", {f.hidden, time_in_.shape[0]});
  modulation_img_ = w.get("transformer.double_stream_modulation_img.lin.weight", {6 * f.hidden, f.hidden});
  modulation_txt_ = w.get("transformer.double_stream_modulation_txt.lin.weight", {6 * f.hidden, f.hidden});
  modulation_single_ = w.get("transformer.single_stream_modulation.lin.weight", {3 * f.hidden, f.hidden});
  modulation_final_ = w.get("transformer.final_layer.adaLN_modulation.1.weight", {2 * f.hidden, f.hidden});
  linear_final_ = w.get("transformer.final_layer.linear.weight", {f.in_channels, f.hidden});
  for (int i = 0;; i++) {
    const std::string prefix = "transformer.double_blocks." + std::to_string(i) + ".";
    if (!w.has(prefix + "img_attn.qkv.weight")) break;
    double_.push_back(DoubleBlock::read(ctx, w, prefix, f, precision));
  }
  for (int i = 0;; i++) {
    const std::string prefix = "transformer.single_blocks." + std::to_string(i) + ".";
    if (!w.has(prefix + "linear1.weight")) break;
    single_.push_back(SingleBlock::read(ctx, w, prefix, f, precision));
  }
  if (double_.empty()) fail(Code::InvalidCheckpoint, "the transformer has no double block");
}

void Flux2Transformer::embed_image(Context& ctx, const Tensor& latents, const Tensor& out) const {
  op::linear(ctx, {.x = latents, .weight = img_in_, .out = out});
}

void Flux2Transformer::embed_text(Context& ctx, const Tensor& text, const Tensor& out) const {
  Workspace::Frame frame(ctx.workspace);
  const Tensor x = ctx.workspace.tensor(compute_, {text.shape[0], text.shape[1]});
  op::convert(ctx, {.x = text, .out = x});
  op::linear(ctx, {.x = x, .weight = txt_in_, .out = out});
}

void Flux2Transformer::rope(Context& ctx, const Tensor& ids, const Tensor& cos, const Tensor& sin) const {
  op::RopeTableArgs a{.ids = ids, .axes_dim = {}, .theta = config_.theta, .cos = cos, .sin = sin};
  a.axes = static_cast<int>(config_.axes_dim.size());
  for (int i = 0; i < a.axes; i++) a.axes_dim[i] = static_cast<int>(config_.axes_dim[i]);
  op::rope_table(ctx, a);
}

StepModulation Flux2Transformer::view(const Tensor& storage) const {
  const auto vector = [&](int64_t i) { return storage.slice(0, i * config_.hidden, (i + 1) * config_.hidden); };
  const auto three = [&](int64_t i) { return Modulation{vector(i), vector(i + 1), vector(i + 2)}; };
  return {.img_attn = three(0),
          .img_mlp = three(3),
          .txt_attn = three(6),
          .txt_mlp = three(9),
          .single_img = three(15),
          .single_txt = three(12),
          .final_shift = vector(18),
          .final_scale = vector(19)};
}

StepModulation Flux2Transformer::modulation(Context& ctx, double timestep, const IdentityDeltas& identity,
                                            const Tensor& storage) const {
  const int64_t D = config_.hidden;
  const Tensor img = storage.slice(0, 0, 6 * D), txt = storage.slice(0, 6 * D, 12 * D);
  const Tensor single_txt = storage.slice(0, 12 * D, 15 * D), single_img = storage.slice(0, 15 * D, 18 * D);
  const Tensor last = storage.slice(0, 18 * D, 20 * D);
  {
    // vec = out(SiLU(in(sinusoid(1000 t)))), and every modulation reads SiLU(vec). Always f32: one row costs nothing.
    Workspace::Frame frame(ctx.workspace);
    const Tensor t = ctx.workspace.tensor(DType::F32, {kTimestepChannels});
    const Tensor hidden = ctx.workspace.tensor(DType::F32, {1, time_in_.shape[0]}),
                 vec = ctx.workspace.tensor(DType::F32, {1, D});
    const Tensor row = ctx.workspace.tensor(DType::F32, {1, D});
    op::timestep_embedding(ctx, {.timestep = timestep, .out = t});
    op::linear(ctx, {.x = t.reshape({1, kTimestepChannels}),
                     .weight = time_in_,
                     .out = hidden,
                     .activation = op::Activation::Silu});
    op::linear(ctx, {.x = hidden, .weight = time_out_, .out = vec});
    ctx.note("vec", vec);
    op::silu(ctx, {.x = vec, .out = row});
    op::linear(ctx, {.x = row, .weight = modulation_img_, .out = img.reshape({1, 6 * D})});
    op::linear(ctx, {.x = row, .weight = modulation_txt_, .out = txt.reshape({1, 6 * D})});
    op::linear(ctx, {.x = row, .weight = modulation_single_, .out = single_txt.reshape({1, 3 * D})});
    op::linear(ctx, {.x = row, .weight = modulation_final_, .out = last.reshape({1, 2 * D})});
    ctx.note("double_mod_img", img);
    ctx.note("double_mod_txt", txt);
    ctx.note("single_mod", single_txt);
    ctx.note("final_mod", last);
  }
  op::convert(ctx, {.x = single_txt, .out = single_img});
  if (identity.double_blocks.defined()) {
    op::add(ctx, {.a = img, .b = identity.double_blocks, .out = img});
    op::add(ctx, {.a = single_img, .b = identity.single_blocks, .out = single_img});
  }
  return view(storage);
}

void Flux2Transformer::double_block(Context& ctx, const DoubleBlock& block, const Conditioning& c,
                                    const StepModulation& m, const Tensor& x, bool shared_image) const {
  const Flux2Config& f = config_;
  const int64_t B = x.shape[0], L = c.tokens(), T = c.text, D = f.hidden;
  struct Stream {
    const DoubleBlock::Stream& weights;
    const Modulation &attn, &mlp;
    int64_t first, end, batch;
    int64_t rows() const { return end - first; }
    Tensor of(const Tensor& t) const { return t.slice(1, first, end); }
    Operand of(const Operand& o) const { return o.slice(1, first, end); }
  };
  // In the first block the image stream does not depend on the text yet, so both guidance branches share its q, k and
  // v.
  const Stream streams[2] = {{block.txt, m.txt_attn, m.txt_mlp, 0, T, B},
                             {block.img, m.img_attn, m.img_mlp, T, L, shared_image ? 1 : B}};
  // Both streams are multiplied in one launch: the text's rows alone would leave a GPU half idle.
  const auto each = [&](auto&& linear) {
    Workspace::Frame quantised(ctx.workspace);
    op::grouped_linear(ctx, {2, {linear(streams[0]), linear(streams[1])}});
  };
  const auto modulate = [&](const Stream& s, int64_t batch, const Modulation& modulation, const Operand& y) {
    const Operand out = s.of(y).slice(0, 0, batch);
    op::layer_norm_modulate(ctx, {.x = s.of(x).slice(0, 0, batch),
                                  .out = out.x,
                                  .shift = op::Segmented::all(s.rows(), modulation.shift),
                                  .scale = op::Segmented::all(s.rows(), modulation.scale),
                                  .out_scale = out.scale});
  };
  Workspace::Frame frame(ctx.workspace);
  const Operand y = Operand::of(ctx, block.img.qkv, compute_, B, L, D);  // the normalised streams
  // The attention's result may overwrite y, which the products before it have read, unless the types differ (e4m3).
  const Tensor attended = y.scale.defined() ? ctx.workspace.tensor(compute_, {B, L, D}) : y.x;
  {
    Workspace::Frame inner(ctx.workspace);
    const Tensor qkv = ctx.workspace.tensor(compute_, {B, L, 3 * D});
    for (const Stream& s : streams) modulate(s, s.batch, s.attn, y);
    each([&](const Stream& s) {
      op::LinearArgs a = product(s.of(y).slice(0, 0, s.batch), s.weights.qkv, s.of(qkv).slice(0, 0, s.batch));
      a.heads = {f.heads,
                 f.heads,
                 s.weights.norm.query,
                 s.weights.norm.key,
                 c.cos.slice(0, s.first, s.end),
                 c.sin.slice(0, s.first, s.end)};
      return a;
    });
    const Tensor q = heads_of(qkv.slice(2, 0, D), f), k = heads_of(qkv.slice(2, D, 2 * D), f),
                 v = heads_of(qkv.slice(2, 2 * D, 3 * D), f), out = heads_of(attended, f);
    op::AttentionArgs attention;
    attention.segments = 2;
    for (int i = 0; i < 2; i++) {
      const Stream& s = streams[i];
      const auto read = [&](const Tensor& t) { return s.of(t).slice(0, 0, s.batch); };  // one item serves both branches
      attention.segment[i] = {.q = read(q), .out = s.of(out), .k = read(k), .v = read(v)};
    }
    op::attention(ctx, attention);
  }
  if (shared_image)
    for (int64_t b = 1; b < B; b++)
      op::convert(ctx, {.x = x.select(0, 0).slice(0, T, L), .out = x.select(0, b).slice(0, T, L)});
  each([&](const Stream& s) {
    return product(operand(ctx, s.of(attended), s.weights.proj), s.weights.proj, s.of(x), op::Activation::None,
                   op::Segmented::all(s.rows(), s.attn.gate));
  });
  for (const Stream& s : streams) modulate(s, B, s.mlp, y);
  const auto inner = [&](const Stream& s) {
    return ctx.workspace.tensor(compute_, {B, s.rows(), s.weights.mlp_down.weight.shape[1]});
  };
  const Tensor inner_txt = inner(streams[0]), inner_img = inner(streams[1]);
  const auto inner_of = [&](const Stream& s) { return &s == &streams[0] ? inner_txt : inner_img; };
  each([&](const Stream& s) { return product(s.of(y), s.weights.mlp_up, inner_of(s), op::Activation::Swiglu); });
  each([&](const Stream& s) {
    return product(operand(ctx, inner_of(s), s.weights.mlp_down), s.weights.mlp_down, s.of(x), op::Activation::None,
                   op::Segmented::all(s.rows(), s.mlp.gate));
  });
}

void Flux2Transformer::single_block(Context& ctx, const SingleBlock& block, const Conditioning& c,
                                    const StepModulation& m, const Tensor& x, int64_t first, int64_t end) const {
  const Flux2Config& f = config_;
  const int64_t B = x.shape[0], L = c.tokens(), T = c.text, D = f.hidden, rows = end - first;
  const int64_t mlp = block.linear2.weight.shape[1] - D;
  // Rows [first, end) are updated; the others give keys and values only (the last block needs no more of them).
  const op::Segmented gate = first >= T ? op::Segmented::all(rows, m.single_img.gate)
                                        : op::Segmented::two(T - first, m.single_txt.gate, end - T, m.single_img.gate);
  Workspace::Frame frame(ctx.workspace);
  const Operand y = Operand::of(ctx, block.key_value, compute_, B, L, D), active = y.slice(1, first, end);
  const Tensor kv = ctx.workspace.tensor(compute_, {B, L, 2 * D});
  const Tensor q = ctx.workspace.tensor(compute_, {B, rows, D}),
               both = ctx.workspace.tensor(compute_, {B, rows, D + mlp});
  op::layer_norm_modulate(ctx, {.x = x,
                                .out = y.x,
                                .shift = by_stream(c, m.single_txt.shift, m.single_img.shift),
                                .scale = by_stream(c, m.single_txt.scale, m.single_img.scale),
                                .out_scale = y.scale});
  op::LinearArgs keys = product(y, block.key_value, kv), queries = product(active, block.query, q);
  keys.heads = {0, f.heads, {}, block.norm.key, c.cos, c.sin};
  queries.heads = {f.heads, 0, block.norm.query, {}, c.cos.slice(0, first, end), c.sin.slice(0, first, end)};
  op::grouped_linear(
      ctx, {3, {keys, queries, product(active, block.mlp_up, both.slice(2, D, D + mlp), op::Activation::Swiglu)}});

  const Tensor qh = heads_of(q, f), kh = heads_of(kv.slice(2, 0, D), f), vh = heads_of(kv.slice(2, D, 2 * D), f);
  const Tensor out = heads_of(both.slice(2, 0, D), f);
  op::AttentionArgs attention;
  attention.segments = 1;
  attention.segment[0] = {.q = qh, .out = out, .k = kh, .v = vh};
  op::attention(ctx, attention);
  op::linear(ctx, product(operand(ctx, both, block.linear2), block.linear2, x.slice(1, first, end),
                          op::Activation::None, gate));
}

void Flux2Transformer::forward(Context& ctx, const Conditioning& c, const StepModulation& m, const Tensor& latents,
                               const Tensor& prediction) const {
  const Flux2Config& f = config_;
  const int64_t B = c.branches, T = c.text, L = c.tokens(), S = c.scene;
  Workspace::Frame frame(ctx.workspace);
  const Tensor x =
      ctx.workspace.tensor(DType::F32, {B, L, f.hidden});  // the residual stream stays f32 in every precision
  const Tensor image = x.slice(1, T, L), scene = x.select(0, 0).slice(0, T, T + S);

  op::convert(ctx, {.x = c.text_tokens, .out = x.slice(1, 0, T)});
  op::convert(ctx, {.x = c.condition_tokens, .out = x.select(0, 0).slice(0, T + S, L)});
  if (c.scene_residual.defined()) {
    op::convert(ctx, {.x = c.scene_residual, .out = scene});
    op::linear(ctx, {.x = latents, .weight = img_in_, .out = scene, .accumulate = true});
  } else {
    op::linear(ctx, {.x = latents, .weight = img_in_, .out = scene});
  }

  int64_t index = 0;
  for (const DoubleBlock& block : double_) {
    ctx.check_cancelled();
    double_block(ctx, block, c, m, x, index == 0);
    if (!c.memory.empty()) c.structure->attend(ctx, index, c.memory, image);
    ctx.note("double." + std::to_string(index) + ".img", image);
    ctx.note("double." + std::to_string(index) + ".txt", x.slice(1, 0, T));
    index++;
  }
  for (const SingleBlock& block : single_) {
    ctx.check_cancelled();
    // After the last block only the scene's rows are read, so only they need queries, the MLP and an output.
    const bool last = index + 1 == blocks() && !c.predict_all;
    single_block(ctx, block, c, m, x, last ? T : 0, last ? T + S : L);
    if (!c.memory.empty()) c.structure->attend(ctx, index, c.memory, last ? x.slice(1, T, T + S) : image);
    ctx.note("single." + std::to_string(index - static_cast<int64_t>(double_.size())), x);
    index++;
  }

  const int64_t predicted = c.predict_all ? c.image() : S;
  const Tensor y = ctx.workspace.tensor(compute_, {B, predicted, f.hidden});
  op::layer_norm_modulate(ctx, {.x = x.slice(1, T, T + predicted),
                                .out = y,
                                .shift = op::Segmented::all(predicted, m.final_shift),
                                .scale = op::Segmented::all(predicted, m.final_scale)});
  op::linear(ctx, {.x = y, .weight = linear_final_, .out = prediction});
}

}  // namespace iconface
