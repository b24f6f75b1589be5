#include "op/lowrank_cross_attention.h"

#include "op/backend.h"
#include "op/check.h"
#include "runtime/meter.h"

namespace iconface::op {

namespace {

void check_heads(const char* op, int64_t width, int64_t heads, int64_t memory, int64_t rank) {
  check(heads >= 1 && width >= heads && width % heads == 0, op, "%lld heads must divide the width %lld",
        static_cast<long long>(heads), static_cast<long long>(width));
  check(memory >= 1 && rank >= 1, op, "memory tokens and rank must be 1 or more, not %lld and %lld",
        static_cast<long long>(memory), static_cast<long long>(rank));
}

void check_contiguous(const char* op, const char* name, const Tensor& t) {
  check(t.contiguous(), op, "%s must be contiguous", name);
}

void check_grid(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t columns, int64_t width) {
  check(rows >= 1 && columns >= 1, op, "the grid of %s must have 1 row and column or more, not %lld x %lld", name,
        static_cast<long long>(rows), static_cast<long long>(columns));
  check_tensor(op, name, t, kF32, {rows * columns, width});
}

}  // namespace

void lowrank_memory(Context& ctx, const LowrankMemoryArgs& a) {
  const char* op = "lowrank_memory";
  check_tensor(op, "memory", a.memory, kF32, {-1, -1});
  check_tensor(op, "keyDown", a.key_down, kWeight, {-1, a.memory.shape[1]});
  const int64_t memory = a.memory.shape[0], width = a.memory.shape[1], rank = a.key_down.shape[0];
  check_tensor(op, "keys", a.keys, kF32, {-1, memory, rank});
  check_heads(op, width, a.keys.shape[0], memory, rank);
  check_tensor(op, "queryUp", a.query_up, kWeight, {width, rank});
  check_tensor(op, "keyUp", a.key_up, kWeight, {width, rank});
  check_tensor(op, "valueDown", a.value_down, kWeight, {rank, width});
  check_tensor(op, "values", a.values, kF32, {memory, rank});
  check_contiguous(op, "keys", a.keys);
  check_contiguous(op, "values", a.values);
  // Two projections of the memory, and for every head U_q^T U_k and its product with the projected memory.
  const auto n = [](int64_t x) { return static_cast<double>(x); };
  const Work work(
      ctx, 4 * n(memory) * n(width) * n(rank) + 2 * n(rank) * n(rank) * (n(width) + n(memory) * n(a.keys.shape[0])));
  ctx.backend.lowrank_memory(ctx, a);
}

void lowrank_cross_attention(Context& ctx, const LowrankCrossAttentionArgs& a) {
  const char* op = "lowrank_cross_attention";
  check_tensor(op, "h", a.h, kF32, {-1, -1, -1});
  check_tensor(op, "keys", a.keys, kF32, {-1, -1, -1});
  const int64_t width = a.h.last(), memory = a.keys.shape[1], rank = a.keys.shape[2];
  check_heads(op, width, a.keys.shape[0], memory, rank);
  check_tensor(op, "queryDown", a.query_down, kWeight, {rank, width});
  check_tensor(op, "values", a.values, kF32, {memory, rank});
  check_tensor(op, "valueUp", a.value_up, kWeight, {width, rank});
  check_contiguous(op, "keys", a.keys);
  check_contiguous(op, "values", a.values);
  check(a.compute == DType::F32 || a.compute == DType::BF16, op, "expected compute F32 or BF16 but received %s",
        dtype_name(a.compute));
  // Down and up, and for every head the products with keys and values.
  const double tokens = static_cast<double>(a.h.rows());
  const Work work(ctx, 4 * tokens * static_cast<double>(rank * (width + a.keys.shape[0] * memory)));
  ctx.backend.lowrank_cross_attention(ctx, a);
}

void token_detail(Context& ctx, const TokenDetailArgs& a) {
  const char* op = "token_detail";
  check_tensor(op, "x", a.x, kF32, {-1, -1});
  check_grid(op, "x", a.x, a.rows, a.columns, a.x.last());
  check_grid(op, "out", a.out, a.rows, a.columns, a.x.last());
  check(a.x.data != a.out.data, op, "out must not be x");
  ctx.backend.token_detail(ctx, a);
}

void resize_tokens(Context& ctx, const ResizeTokensArgs& a) {
  const char* op = "resize_tokens";
  check_tensor(op, "x", a.x, kF32, {-1, -1});
  check_grid(op, "x", a.x, a.rows_x, a.columns_x, a.x.last());
  check_grid(op, "out", a.out, a.rows_out, a.columns_out, a.x.last());
  check(a.x.data != a.out.data, op, "out must not be x");
  ctx.backend.resize_tokens(ctx, a);
}

}  // namespace iconface::op
