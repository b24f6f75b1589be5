// lowrank_memory: the key/value side of one block's cross-attention, in rank space
// model-specification.md 5, paper Eq. 7
//   keys_j = (down_k M) (U_qj^T U_kj)^T / sqrt(d)  [memory, r] for every head j,  values = down_v M  [memory, r]
// because q_j . k_j = (U_qj a) . (U_kj down_k m) = a . (U_qj^T U_kj)(down_k m), U_j being head j's d rows of U.
// One item is a memory token (both down projections), then a head. klein-4B: 50 MFLOP, once per block and restore.
#include "cpu/kernels.h"
#include "cpu/row.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

struct Weights {
  float *query_up, *key_up;      // [D, r]
  float *key_down, *value_down;  // [r, D]
};

/// keys [memory, r] of one head from `down` = down_k M [memory, r]; `product` is scratch for U_qj^T U_kj [r, r].
void head_keys(const float* query_up, const float* key_up, int64_t d, int64_t r, const float* down, int64_t memory,
               float* product, float* keys) {
  for (int64_t i = 0; i < r; i++)
    for (int64_t e = 0; e < r; e += kLanes) {
      F total{};
      for (int64_t c = 0; c < d; c++) total += query_up[c * r + i] * load_some(key_up + c * r + e, r - e);
      store_some(product + i * r + e, total, r - e);
    }
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(d));
  for (int64_t m = 0; m < memory; m++)
    for (int64_t i = 0; i < r; i++) keys[m * r + i] = scale * dot(product + i * r, down + m * r, r);
}

}  // namespace

void lowrank_memory(Context& ctx, const op::LowrankMemoryArgs& a) {
  const int64_t memory = a.memory.shape[0], width = a.memory.shape[1], r = a.key_down.shape[0];
  const int64_t heads = a.keys.shape[0], d = width / heads;
  Workspace::Frame frame(ctx.workspace);
  const auto floats = [&](int64_t n) { return static_cast<float*>(ctx.workspace.bytes(n * 4)); };
  const Weights w = {floats(width * r), floats(width * r), floats(r * width), floats(r * width)};
  float* down = floats(memory * r);
  float* products = floats(ctx.pool.workers() * r * r);
  if (ctx.planning()) return;

  const auto widen_all = [](const Tensor& from, float* to) {
    for (int64_t row = 0; row < from.shape[0]; row++)
      widen_row(from.as<char>() + row * from.stride[0] * dtype_bytes(from.dtype), from.dtype, to + row * from.last(),
                from.last());
  };
  widen_all(a.query_up, w.query_up);
  widen_all(a.key_up, w.key_up);
  widen_all(a.key_down, w.key_down);
  widen_all(a.value_down, w.value_down);

  parallel_for(ctx.pool, memory, [&](int64_t m, int) {
    const float* token = a.memory.row<const float>(m);
    for (int64_t i = 0; i < r; i++) {
      down[m * r + i] = dot(token, w.key_down + i * width, width);
      a.values.as<float>()[m * r + i] = dot(token, w.value_down + i * width, width);
    }
  });
  parallel_for(ctx.pool, heads, [&](int64_t j, int worker) {
    head_keys(w.query_up + j * d * r, w.key_up + j * d * r, d, r, down, memory, products + worker * r * r,
              a.keys.as<float>() + j * memory * r);
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
