#include "op/check.h"

#include <algorithm>

#include "runtime/device.h"

namespace iconface::op {

namespace {
constexpr int kMostWindow = 1 << 16;      // far beyond any network
constexpr int64_t kMostPixels = 1 << 30;  // of a map's side, so that kernels may count in 32 bits
}  // namespace

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

void check_same(const char* op, const char* name, const Tensor& t, const char* like, const Tensor& x) {
  bool same = t.defined() && t.rank == x.rank;
  for (int i = 0; same && i < x.rank; i++) same = t.shape[i] == x.shape[i];
  check(same, op, "%s must have the shape of %s %s, not %s", name, like, x.describe().c_str(),
        t.defined() ? t.describe().c_str() : "absent");
}

void check_flat_f32(const char* op, const char* name, const Tensor& t) {
  check(t.defined() && t.dtype == DType::F32 && t.contiguous(), op, "%s must be contiguous F32, not %s", name,
        t.defined() ? t.describe().c_str() : "absent");
}

void check_contiguous(const char* op, const char* name, const Tensor& t) {
  check(t.contiguous(), op, "%s must be contiguous; %s is strided", name, t.describe().c_str());
}

void check_picture(const char* op, const Tensor& pixels, const char* name) {
  check_contiguous(op, name, pixels);
  check(pixels.shape[0] >= 1 && pixels.shape[1] >= 1 && pixels.shape[0] <= kMaxSide && pixels.shape[1] <= kMaxSide, op,
        "%s must have sides of 1 to %lld, but are %s", name, static_cast<long long>(kMaxSide),
        pixels.describe().c_str());
}

void check_map(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> dtypes,
               std::initializer_list<int64_t> shape) {
  check_tensor(op, name, t, dtypes, shape);
  check(t.contiguous(), op, "%s must be contiguous; %s is strided", name, t.describe().c_str());
  check(t.elements() > 0, op, "%s must not be empty, as %s is", name, t.describe().c_str());
}

void check_window(const char* op, const Tensor& x, int64_t height, int64_t width) {
  check(x.shape[1] <= kMostPixels && x.shape[2] <= kMostPixels, op, "x must have sides of at most %lld, but is %s",
        static_cast<long long>(kMostPixels), x.describe().c_str());
  check(std::min(height, width) >= 1 && std::max(height, width) <= kMostWindow, op,
        "size must be 1 to %d, but is %lld x %lld", kMostWindow, static_cast<long long>(height),
        static_cast<long long>(width));
}

void check_heads(const char* op, int64_t width, int64_t heads, int64_t memory, int64_t rank) {
  check(heads >= 1 && width >= heads && width % heads == 0, op, "%lld heads must divide the width %lld",
        static_cast<long long>(heads), static_cast<long long>(width));
  check(memory >= 1 && rank >= 1, op, "memory tokens and rank must be 1 or more, not %lld and %lld",
        static_cast<long long>(memory), static_cast<long long>(rank));
}

void check_grid(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t columns, int64_t width) {
  check(rows >= 1 && columns >= 1, op, "the grid of %s must have 1 row and column or more, not %lld x %lld", name,
        static_cast<long long>(rows), static_cast<long long>(columns));
  check_tensor(op, name, t, kF32, {rows * columns, width});
}

}  // namespace iconface::op
