#include "op/check.h"

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

}  // namespace iconface::op
