#include "network/structure_pathway.h"

#include "op/attention.h"
#include "op/convert.h"
#include "op/layer_norm_modulate.h"
#include "op/linear.h"
#include "op/lowrank_cross_attention.h"
#include "op/lowrank_memory.h"
#include "op/resize_tokens.h"
#include "op/token_detail.h"

namespace iconface {

StructurePathway::StructurePathway(Context& ctx, Weights& w, const CheckpointSpec& spec, int64_t hidden, int64_t heads,
                                   int64_t blocks, DType compute)
    : hidden_(hidden), heads_(heads), compute_(compute) {
  const int64_t d = hidden / heads;
  if (w.has("adapter.structure.residual.down.weight")) {
    residual_down_ = w.get("adapter.structure.residual.down.weight", {-1, hidden});
    residual_up_ = w.scaled(ctx, "adapter.structure.residual.up.weight", {hidden, residual_down_.shape[0]},
                            static_cast<float>(spec.number("adapter.residualStrength", 1)));
  }
  auto read_route = [&](const std::string& name) -> Route {
    if (!w.has(name + ".queries")) return {};
    const Tensor stored = w.get(name + ".queries", {-1, hidden});
    const Tensor queries = w.allocate(compute, {stored.shape[0], hidden});
    op::convert(ctx, {.x = stored, .out = queries});
    w.release(name + ".queries");
    return {queries.reshape({stored.shape[0], heads, d}), w.get(name + ".key.weight", {hidden, hidden}),
            w.get(name + ".value.weight", {hidden, hidden})};
  };
  base_ = read_route("adapter.structure.base");
  detail_ = read_route("adapter.structure.detail");
  if (!has_memory()) return;
  for (int64_t i = 0; i < blocks; i++) {
    const std::string name = "adapter.structure.blocks." + std::to_string(i);
    Block b;
    b.query_down = w.get(name + ".query.down.weight", {-1, hidden});
    const int64_t rank = b.query_down.shape[0];
    b.query_up = w.get(name + ".query.up.weight", {hidden, rank});
    b.key_down = w.get(name + ".key.down.weight", {rank, hidden});
    b.key_up = w.get(name + ".key.up.weight", {hidden, rank});
    b.value_down = w.get(name + ".value.down.weight", {rank, hidden});
    b.value_up = w.get(name + ".value.up.weight", {hidden, rank});
    b.gate = w.values(name + ".gate", {1})[0];
    blocks_.push_back(b);
  }
}

int64_t StructurePathway::memory_tokens(bool detail) const {
  return base_.queries.shape[0] + (detail && detail_.queries.defined() ? detail_.queries.shape[0] : 0);
}

void StructurePathway::residual(Context& ctx, const Tensor& x_deg, TokenGrid degraded, TokenGrid scene,
                                const Tensor& out) const {
  Workspace::Frame frame(ctx.workspace);
  Tensor x = x_deg;
  if (degraded.rows != scene.rows || degraded.columns != scene.columns) {
    x = ctx.workspace.tensor(DType::F32, {scene.tokens(), hidden_});
    op::resize_tokens(ctx, {.x = x_deg,
                            .out = x,
                            .rows_x = degraded.rows,
                            .columns_x = degraded.columns,
                            .rows_out = scene.rows,
                            .columns_out = scene.columns});
  }
  const Tensor down = ctx.workspace.tensor(DType::F32, {1, scene.tokens(), residual_down_.shape[0]});
  op::linear(ctx, {.x = x.reshape({1, scene.tokens(), hidden_}), .weight = residual_down_, .out = down});
  op::linear(ctx, {.x = down, .weight = residual_up_, .out = out.reshape({1, scene.tokens(), hidden_})});
  ctx.note("scene_residual", out);
}

void StructurePathway::pool(Context& ctx, const Route& route, const Tensor& x, const Tensor& out) const {
  const int64_t tokens = x.shape[0], d = hidden_ / heads_;
  Workspace::Frame frame(ctx.workspace);
  const Tensor y = ctx.workspace.tensor(compute_, {1, tokens, hidden_});
  const Tensor k = ctx.workspace.tensor(compute_, {1, tokens, hidden_}),
               v = ctx.workspace.tensor(compute_, {1, tokens, hidden_});
  op::layer_norm_modulate(ctx, {.x = x.reshape({1, tokens, hidden_}), .out = y});
  op::linear(ctx, {.x = y, .weight = route.key, .out = k});
  op::linear(ctx, {.x = y, .weight = route.value, .out = v});
  op::AttentionArgs attention;
  attention.segments = 1;
  attention.segment[0] = {.q = route.queries,
                          .out = out.reshape({out.shape[0], heads_, d}),
                          .k = k.reshape({tokens, heads_, d}),
                          .v = v.reshape({tokens, heads_, d})};
  op::attention(ctx, attention);
}

void StructurePathway::memory(Context& ctx, const Tensor& x_deg, TokenGrid degraded, bool detail,
                              const Tensor& out) const {
  const int64_t base = base_.queries.shape[0], all = memory_tokens(detail);
  Workspace::Frame frame(ctx.workspace);
  const Tensor pooled = ctx.workspace.tensor(DType::F32, {all, hidden_});
  pool(ctx, base_, x_deg, pooled.slice(0, 0, base));
  if (all > base) {
    const Tensor fine = ctx.workspace.tensor(DType::F32, {degraded.tokens(), hidden_});
    op::token_detail(ctx, {.x = x_deg, .out = fine, .rows = degraded.rows, .columns = degraded.columns});
    pool(ctx, detail_, fine, pooled.slice(0, base, all));
  }
  op::layer_norm_modulate(ctx, {.x = pooled.reshape({1, all, hidden_}), .out = out.reshape({1, all, hidden_})});
  ctx.note("memory", out);
}

StructureMemory StructurePathway::blocks(Context& ctx, const Tensor& memory) const {
  StructureMemory m;
  for (const Block& b : blocks_) {
    const int64_t rank = b.query_down.shape[0];
    m.blocks.push_back({ctx.workspace.tensor(DType::F32, {heads_, memory.shape[0], rank}),
                        ctx.workspace.tensor(DType::F32, {memory.shape[0], rank})});
    op::lowrank_memory(ctx, {.memory = memory,
                             .query_up = b.query_up,
                             .key_down = b.key_down,
                             .key_up = b.key_up,
                             .value_down = b.value_down,
                             .keys = m.blocks.back().keys,
                             .values = m.blocks.back().values});
  }
  return m;
}

void StructurePathway::attend(Context& ctx, int64_t block, const StructureMemory& m, const Tensor& h) const {
  const Block& b = blocks_[block];
  op::lowrank_cross_attention(ctx, {.h = h,
                                    .query_down = b.query_down,
                                    .keys = m.blocks[block].keys,
                                    .values = m.blocks[block].values,
                                    .value_up = b.value_up,
                                    .gate = b.gate,
                                    .compute = compute_});
}

}  // namespace iconface
