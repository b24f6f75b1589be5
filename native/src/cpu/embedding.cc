// embedding: out[i] = table[ids[i]]. Reads and writes tokens x D elements: a memory copy is the limit.
#include "op/embedding.h"

#include <algorithm>

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {
constexpr int64_t kBlockRows = 16;

template <class From, class To>
void copy_row(const From* from, To* to, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store_some(to + i, load_some(from + i, n - i), n - i);
}

template <class From, class To>
void gather(Context& ctx, const op::EmbeddingArgs& a) {
  const int64_t tokens = a.ids.shape[0], width = a.table.last();
  parallel_for(ctx.pool, (tokens + kBlockRows - 1) / kBlockRows, [&](int64_t item, int) {
    for (int64_t i = item * kBlockRows; i < std::min(tokens, (item + 1) * kBlockRows); i++)
      copy_row(a.table.row<const From>(a.ids.as<int32_t>()[i]), a.out.row<To>(i), width);
  });
}

template <class From>
void gather_from(Context& ctx, const op::EmbeddingArgs& a) {
  a.out.dtype == DType::F32 ? gather<From, float>(ctx, a) : gather<From, bf16>(ctx, a);
}
}  // namespace

int64_t embedding(Context& ctx, const op::EmbeddingArgs& a) {
  const int64_t none = a.ids.shape[0];
  if (ctx.planning()) return none;
  for (int64_t i = 0; i < none; i++) {
    const int32_t id = a.ids.as<int32_t>()[i];
    if (id < 0 || id >= a.table.shape[0]) return i;
  }
  if (a.table.dtype == DType::F32)
    gather_from<float>(ctx, a);
  else if (a.table.dtype == DType::BF16)
    gather_from<bf16>(ctx, a);
  else
    gather_from<f16>(ctx, a);
  return none;
}

}  // namespace iconface::cpu::ICONFACE_ISA
