// convert: rows from one float type and layout to another. Reads x and writes out once: a memory copy is the limit.
#include "op/convert.h"

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {
template <class From, class To>
void convert_row(const From* x, To* out, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i));
  for (; i < n; i++) store1(out + i, load1(x + i));
}

template <class From, class To>
void convert_as(Context& ctx, const op::ConvertArgs& a) {
  const int64_t rows = a.x.rows(), columns = a.x.last();
  const int64_t block = columns >= 65536 ? 1 : 65536 / (columns + 1) + 1;  // rows per item: some 64 Ki elements
  parallel_for(ctx.pool, (rows + block - 1) / block, [&](int64_t item, int) {
    const int64_t end = (item + 1) * block < rows ? (item + 1) * block : rows;
    for (int64_t r = item * block; r < end; r++) convert_row(a.x.row<From>(r), a.out.row<To>(r), columns);
  });
}

template <class From>
void convert_from(Context& ctx, const op::ConvertArgs& a) {
  a.out.dtype == DType::F32 ? convert_as<From, float>(ctx, a) : convert_as<From, bf16>(ctx, a);
}
}  // namespace

void convert(Context& ctx, const op::ConvertArgs& a) {
  if (ctx.planning()) return;
  switch (a.x.dtype) {
    case DType::F32:
      return convert_from<float>(ctx, a);
    case DType::BF16:
      return convert_from<bf16>(ctx, a);
    default:
      return convert_from<f16>(ctx, a);
  }
}

}  // namespace iconface::cpu::ICONFACE_ISA
