#include "op/check.h"

#include "runtime/device.h"

namespace iconface::op {

void check_tensor(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> dtypes,
                  std::initializer_list<int64_t> shape) {
  bool good = t.defined() && t.rank == static_cast<int>(shape.size());
  if (good) {
    bool known = false;
    for (DType d : dtypes) known = known || d == t.dtype;
    good = known;
    int i = 0;
    for (int64_t n : shape) {
      good = good && (n < 0 || t.shape[i] == n);
      i++;
    }
  }
  if (good) return;
  std::string expected;
  for (DType d : dtypes) expected += (expected.empty() ? "" : " or ") + std::string(dtype_name(d));
  expected += " [";
  int i = 0;
  for (int64_t n : shape) expected += (i++ ? ", " : "") + (n < 0 ? std::string("*") : std::to_string(n));
  fail(Code::InvalidArgument, "%s: %s must be %s], not %s", op, name, expected.c_str(),
       t.defined() ? t.describe().c_str() : "absent");
}

void check_e4m3(const char* op, const Context& ctx) {
  if (ctx.device == nullptr || ctx.device->has_e4m3()) return;
  fail(Code::Unsupported,
       "%s: F8_E4M3 needs a GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell), not %s (%s): use bf16", op,
       ctx.device->name.c_str(), ctx.device->description.c_str());
}

void check_rows(const char* op, const char* name, const Tensor& t, DType dtype, const Tensor& x, int64_t last) {
  bool good = t.defined() && t.rank == x.rank && t.dtype == dtype;
  for (int i = 0; good && i < x.rank; i++) good = t.shape[i] == (i + 1 < x.rank ? x.shape[i] : last);
  check(good, op, "%s must be %s [(as x), %lld] for x %s, not %s", name, dtype_name(dtype),
        static_cast<long long>(last), x.describe().c_str(), t.defined() ? t.describe().c_str() : "absent");
}

}  // namespace iconface::op
