#include "binding/call.h"
#include "op/lowrank_cross_attention.h"

namespace iconface::binding {

void lowrank_memory(Context& ctx, Call& call) {
  op::LowrankMemoryArgs a;
  a.memory = call.input("memory");
  a.query_up = call.input("queryUp");
  a.key_down = call.input("keyDown");
  a.key_up = call.input("keyUp");
  a.value_down = call.input("valueDown");
  const int64_t heads = call.size("heads");
  const int64_t memory = a.memory.rank > 0 ? a.memory.shape[0] : 0;
  const int64_t rank = a.key_down.rank > 0 ? a.key_down.shape[0] : 0;
  a.keys = call.output("keys", DType::F32, {heads, memory, rank});
  a.values = call.output("values", DType::F32, {memory, rank});
  op::lowrank_memory(ctx, a);
}

void lowrank_cross_attention(Context& ctx, Call& call) {
  op::LowrankCrossAttentionArgs a;
  a.h = call.inout(ctx, "h");
  a.query_down = call.input("queryDown");
  a.keys = call.input("keys");
  a.values = call.input("values");
  a.value_up = call.input("valueUp");
  a.gate = static_cast<float>(call.number("gate", 1));
  a.compute = call.dtype("compute", DType::F32);
  op::lowrank_cross_attention(ctx, a);
}

void token_detail(Context& ctx, Call& call) {
  op::TokenDetailArgs a;
  a.x = call.input("x");
  a.out = call.output_like("out", DType::F32, a.x);
  a.rows = call.size("rows");
  a.columns = call.size("columns");
  op::token_detail(ctx, a);
}

void resize_tokens(Context& ctx, Call& call) {
  op::ResizeTokensArgs a;
  a.x = call.input("x");
  a.rows_x = call.size("rowsX");
  a.columns_x = call.size("columnsX");
  a.rows_out = call.size("rowsOut");
  a.columns_out = call.size("columnsOut");
  a.out = call.output("out", DType::F32, {a.rows_out * a.columns_out, a.x.rank > 0 ? a.x.last() : 0});
  op::resize_tokens(ctx, a);
}

}  // namespace iconface::binding
