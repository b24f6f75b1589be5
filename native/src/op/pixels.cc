#include "op/pixels.h"

#include <cmath>

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

namespace {

constexpr int64_t kMaxSide = 1 << 20;

void check_contiguous(const char* op, const char* name, const Tensor& t) {
  check(t.contiguous(), op, "%s must be contiguous; %s is strided", name, t.describe().c_str());
}

void check_picture(const char* op, const Tensor& pixels, const char* name = "pixels") {
  check_contiguous(op, name, pixels);
  check(pixels.shape[0] >= 1 && pixels.shape[1] >= 1 && pixels.shape[0] <= kMaxSide && pixels.shape[1] <= kMaxSide, op,
        "%s must have sides of 1 to %lld, but are %s", name, static_cast<long long>(kMaxSide),
        pixels.describe().c_str());
}

}  // namespace

void image_to_tensor(Context& ctx, const ImageToTensorArgs& a) {
  constexpr const char* kOp = "image_to_tensor";
  check_tensor(kOp, "pixels", a.pixels, kU8, {-1, -1, -1});
  check(a.pixels.last() == 3 || a.pixels.last() == 4, kOp, "pixels must be RGB or RGBA, not %s",
        a.pixels.describe().c_str());
  check_picture(kOp, a.pixels);
  check_tensor(kOp, "out", a.out, {DType::F32, DType::U8}, {-1, -1, 3});
  const int64_t size = a.out.shape[0];
  check(size == a.out.shape[1] && size >= 1 && size <= kMaxSide, kOp,
        "out must be square with a side of 1 to %lld, not %s", static_cast<long long>(kMaxSide),
        a.out.describe().c_str());
  check_contiguous(kOp, "out", a.out);
  ctx.backend.image_to_tensor(ctx, a);
}

void tensor_to_image(Context& ctx, const TensorToImageArgs& a) {
  constexpr const char* kOp = "tensor_to_image";
  check_tensor(kOp, "x", a.x, kF32, {-1, -1, 3});
  check_tensor(kOp, "pixels", a.pixels, kU8, {a.x.shape[0], a.x.shape[1], 3});
  check_contiguous(kOp, "x", a.x);
  check_contiguous(kOp, "pixels", a.pixels);
  ctx.backend.tensor_to_image(ctx, a);
}

void detector_input(Context& ctx, const DetectorInputArgs& a) {
  constexpr const char* kOp = "detector_input";
  check_tensor(kOp, "pixels", a.pixels, kU8, {-1, -1, 3});
  check_picture(kOp, a.pixels);
  check_tensor(kOp, "out", a.out, {DType::F32, DType::U8}, {-1, -1, 3});
  check_picture(kOp, a.out, "out");
  ctx.backend.detector_input(ctx, a);
}

void face_crop(Context& ctx, const FaceCropArgs& a) {
  constexpr const char* kOp = "face_crop";
  check_tensor(kOp, "pixels", a.pixels, kU8, {-1, -1, 3});
  check_picture(kOp, a.pixels);
  check_tensor(kOp, "out", a.out, kF32, {-1, -1, 3});
  check_contiguous(kOp, "out", a.out);
  for (double v : a.matrix)
    check(std::isfinite(v) && std::fabs(v) <= 1e9, kOp, "matrix must be finite and within 1e9, but holds %g", v);
  const double* m = a.matrix;
  const double scale = std::sqrt(std::fabs(m[0] * m[4] - m[1] * m[3]));
  check(scale >= 1e-6 && scale <= 1e6, kOp, "matrix must scale by 1e-6 to 1e6, but scales by %g", scale);
  ctx.backend.face_crop(ctx, a);
}

}  // namespace iconface::op
