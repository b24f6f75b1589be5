#include "network/qwen3_encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "op/attention.h"
#include "op/convert.h"
#include "op/embedding.h"
#include "op/linear.h"
#include "op/qk_norm_rope.h"
#include "op/rms_norm.h"
#include "op/rope_table.h"
#include "op/transfer.h"

namespace iconface {

namespace {
// Rows of the MLP's two upper matrices that are brought side by side at a time: they stay in the cache until they are
// multiplied.
constexpr int64_t kMlpRows = 1024;

std::string layer_name(int64_t index) { return "text.layers." + std::to_string(index) + "."; }

/// [1, tokens, H d] as heads: [1, tokens, H, d].
Tensor heads_of(const Tensor& t, int64_t heads) { return t.reshape({1, t.shape[1], heads, t.last() / heads}); }
}  // namespace

Qwen3Config Qwen3Config::read(Weights& w, const CheckpointSpec& spec) {
  Qwen3Config c;
  const std::string first = layer_name(0);
  c.hidden = w.get("text.embed_tokens.weight", {-1, -1}).shape[1];
  c.head_dim = w.get(first + "self_attn.q_norm.weight", {-1}).shape[0];
  const int64_t query = w.get(first + "self_attn.q_proj.weight", {-1, c.hidden}).shape[0];
  const int64_t key = w.get(first + "self_attn.k_proj.weight", {-1, c.hidden}).shape[0];
  c.mlp = w.get(first + "mlp.gate_proj.weight", {-1, c.hidden}).shape[0];
  if (c.hidden < 1 || c.mlp < 1 || c.head_dim < 2 || c.head_dim % 2 != 0)
    fail(Code::InvalidCheckpoint, "the text encoder's head size must be even, not %lld, and no size 0",
         static_cast<long long>(c.head_dim));
  c.heads = query / c.head_dim;
  c.kv_heads = key / c.head_dim;
  if (c.heads * c.head_dim != query || c.kv_heads * c.head_dim != key || c.kv_heads < 1 || c.heads % c.kv_heads != 0)
    fail(Code::InvalidCheckpoint,
         "the text encoder's queries and keys have %lld and %lld channels, which do not make heads of %lld that divide",
         static_cast<long long>(query), static_cast<long long>(key), static_cast<long long>(c.head_dim));
  while (w.has(layer_name(c.layers) + "self_attn.q_proj.weight")) c.layers++;
  const auto outputs = spec.numbers.find("text.outputLayers");
  if (outputs == spec.numbers.end() || outputs->second.empty())
    fail(Code::InvalidCheckpoint, "the configuration names no output layers of the text encoder");
  for (double n : outputs->second) {
    if (!(n >= 1 && n <= static_cast<double>(c.layers)) || n != std::floor(n))
      fail(Code::InvalidCheckpoint, "output layers of the text encoder must be from 1 to its %lld, not %g",
           static_cast<long long>(c.layers), n);
    c.output_layers.push_back(static_cast<int64_t>(n));
  }
  c.theta = spec.number("text.ropeTheta", 1e6);
  if (!(c.theta > 0)) fail(Code::InvalidCheckpoint, "the text encoder's ropeTheta must be positive, not %g", c.theta);
  return c;
}

Qwen3Encoder::Qwen3Encoder(Context& ctx, Weights& w, const CheckpointSpec& spec, DType compute)
    : config_(Qwen3Config::read(w, spec)), compute_(compute), weights_(w) {
  table_ = w.get("text.embed_tokens.weight", {-1, config_.hidden});
  const int64_t last = *std::max_element(config_.output_layers.begin(), config_.output_layers.end());
  if (last == config_.layers) final_norm_ = w.f32(ctx, "text.norm.weight", {config_.hidden});
  for (int64_t i = 0; i < last; i++) layers_.push_back(read_layer(ctx, w, i));
}

Qwen3Encoder::Layer Qwen3Encoder::read_layer(Context& ctx, Weights& w, int64_t index) const {
  const Qwen3Config& c = config_;
  const std::string name = layer_name(index), attention = name + "self_attn.", mlp = name + "mlp.";
  return {.attention_norm = w.f32(ctx, name + "input_layernorm.weight", {c.hidden}),
          .query = w.get(attention + "q_proj.weight", {c.heads * c.head_dim, c.hidden}),
          .key = w.get(attention + "k_proj.weight", {c.kv_heads * c.head_dim, c.hidden}),
          .value = w.get(attention + "v_proj.weight", {c.kv_heads * c.head_dim, c.hidden}),
          .query_norm = w.f32(ctx, attention + "q_norm.weight", {c.head_dim}),
          .key_norm = w.f32(ctx, attention + "k_norm.weight", {c.head_dim}),
          .projection = w.get(attention + "o_proj.weight", {c.hidden, c.heads * c.head_dim}),
          .mlp_norm = w.f32(ctx, name + "post_attention_layernorm.weight", {c.hidden}),
          .mlp_gate = w.get(mlp + "gate_proj.weight", {c.mlp, c.hidden}),
          .mlp_up = w.get(mlp + "up_proj.weight", {c.mlp, c.hidden}),
          .mlp_down = w.get(mlp + "down_proj.weight", {c.hidden, c.mlp})};
}

/// x += o(Attn(RoPE(RMS(q(y))), RoPE(RMS(k(y))), v(y))), y = RMS(x). Keys and values of padding are seen by nobody.
void Qwen3Encoder::attend(Context& ctx, const Layer& layer, const Tensor& cos, const Tensor& sin, int64_t real,
                          const Tensor& x) const {
  const Qwen3Config& c = config_;
  const int64_t tokens = x.shape[1];
  Workspace::Frame frame(ctx.workspace);
  const Tensor y = ctx.workspace.tensor(compute_, {1, tokens, c.hidden});
  const Tensor q = ctx.workspace.tensor(compute_, {1, tokens, c.heads * c.head_dim});
  const Tensor k = ctx.workspace.tensor(compute_, {1, real, c.kv_heads * c.head_dim});
  const Tensor v = ctx.workspace.tensor(compute_, {1, real, c.kv_heads * c.head_dim});
  const Tensor text = y.slice(1, 0, real);
  op::rms_norm(ctx, {.x = x, .out = y, .weight = layer.attention_norm});
  op::linear(ctx, {.x = y, .weight = layer.query, .out = q});
  op::linear(ctx, {.x = text, .weight = layer.key, .out = k});
  op::linear(ctx, {.x = text, .weight = layer.value, .out = v});
  const Tensor q_heads = heads_of(q, c.heads), k_heads = heads_of(k, c.kv_heads), v_heads = heads_of(v, c.kv_heads);
  op::qk_norm_rope(ctx, {.q = q_heads,
                         .k = {},
                         .q_scale = layer.query_norm,
                         .k_scale = {},
                         .cos = cos,
                         .sin = sin,
                         .pairs = op::RopePairs::Halves});
  op::qk_norm_rope(ctx, {.q = {},
                         .k = k_heads,
                         .q_scale = {},
                         .k_scale = layer.key_norm,
                         .cos = cos.slice(0, 0, real),
                         .sin = sin.slice(0, 0, real),
                         .pairs = op::RopePairs::Halves});
  const Tensor attended = ctx.workspace.tensor(compute_, {1, tokens, c.heads * c.head_dim});
  op::AttentionArgs attention;
  attention.segments = 1;
  attention.causal = true;
  attention.segment[0] = {.q = q_heads.select(0, 0),
                          .out = heads_of(attended, c.heads).select(0, 0),
                          .k = k_heads.select(0, 0),
                          .v = v_heads.select(0, 0)};
  op::attention(ctx, attention);
  op::linear(ctx, {.x = attended, .weight = layer.projection, .out = x, .accumulate = true});
}

/// x += down(SiLU(gate(y)) * up(y)), y = RMS(x).
void Qwen3Encoder::mlp(Context& ctx, const Layer& layer, const Tensor& x) const {
  const Qwen3Config& c = config_;
  const int64_t tokens = x.shape[1], block = std::min(c.mlp, kMlpRows);
  Workspace::Frame frame(ctx.workspace);
  const Tensor y = ctx.workspace.tensor(compute_, {1, tokens, c.hidden});
  const Tensor inner = ctx.workspace.tensor(compute_, {1, tokens, c.mlp});
  const Tensor both = ctx.workspace.tensor(compute_, {2 * block, c.hidden});
  op::rms_norm(ctx, {.x = x, .out = y, .weight = layer.mlp_norm});
  for (int64_t first = 0; first < c.mlp; first += block) {
    const int64_t end = std::min(c.mlp, first + block), rows = end - first;
    op::convert(ctx, {.x = layer.mlp_gate.slice(0, first, end), .out = both.slice(0, 0, rows)});
    op::convert(ctx, {.x = layer.mlp_up.slice(0, first, end), .out = both.slice(0, rows, 2 * rows)});
    op::linear(ctx, {.x = y,
                     .weight = both.slice(0, 0, 2 * rows),
                     .out = inner.slice(2, first, end),
                     .activation = op::Activation::Swiglu});
  }
  op::linear(ctx, {.x = inner, .weight = layer.mlp_down, .out = x, .accumulate = true});
}

void Qwen3Encoder::encode(Context& ctx, const Tensor& ids, int64_t real, const Tensor& out) const {
  const Qwen3Config& c = config_;
  const int64_t tokens = ids.shape[0], layers = static_cast<int64_t>(layers_.size());
  if (real < 1 || real > tokens)
    fail(Code::InvalidArgument, "the text must have 1 to %lld tokens, not %lld", static_cast<long long>(tokens),
         static_cast<long long>(real));
  Workspace::Frame frame(ctx.workspace);
  const Tensor x = ctx.workspace.tensor(DType::F32, {1, tokens, c.hidden});
  std::vector<int32_t> places(static_cast<size_t>(tokens));
  std::iota(places.begin(), places.end(), 0);
  const Tensor positions = op::upload(ctx, Tensor::of(places.data(), DType::I32, {tokens, 1}));
  const Tensor cos = ctx.workspace.tensor(DType::F32, {tokens, c.head_dim / 2});
  const Tensor sin = ctx.workspace.tensor(DType::F32, {tokens, c.head_dim / 2});
  op::rope_table(ctx, {.ids = positions,
                       .axes_dim = {static_cast<int>(c.head_dim)},
                       .axes = 1,
                       .theta = c.theta,
                       .cos = cos,
                       .sin = sin});
  op::embedding(ctx, {.ids = ids, .table = table_, .out = x.select(0, 0)});
  ctx.note("rope_cos", cos);
  ctx.note("rope_sin", sin);
  ctx.note("hidden_states.0", x);
  const auto each_matrix = [&](int64_t layer, void (Weights::*advise)(const Tensor&) const) {
    if (ctx.planning() || layer >= layers) return;
    for (const Tensor& t : layers_[layer].matrices()) (weights_.*advise)(t);
  };
  each_matrix(0, &Weights::expect);
  for (int64_t i = 0; i < layers; i++) {
    ctx.check_cancelled();
    each_matrix(i + 1, &Weights::expect);
    attend(ctx, layers_[i], cos, sin, real, x);
    mlp(ctx, layers_[i], x);
    each_matrix(i, &Weights::forget);
    const bool last = i + 1 == c.layers;
    const std::string name = "hidden_states." + std::to_string(i + 1);
    ctx.note(last ? name + ".before_final_norm" : name, x);
    if (last) op::rms_norm(ctx, {.x = x, .out = x, .weight = final_norm_});
    if (last) ctx.note(name, x);
    for (size_t j = 0; j < c.output_layers.size(); j++)
      if (c.output_layers[j] == i + 1) {
        const int64_t column = static_cast<int64_t>(j) * c.hidden;
        op::convert(ctx, {.x = x.select(0, 0), .out = out.slice(1, column, column + c.hidden)});
      }
  }
  if (!ctx.planning()) weights_.forget(table_);
}

}  // namespace iconface
