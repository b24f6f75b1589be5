#include "op/pixels.h"

#include "binding/call.h"

namespace iconface::binding {

namespace {

int64_t side(const char* kind, double size) {
  if (!(size >= 1 && size <= 1 << 20))
    fail(Code::InvalidArgument, "%s: size must be a number of pixels from 1 to 1048576, but is %g", kind, size);
  return static_cast<int64_t>(size);
}

DType image_dtype(const Call& call) {
  const std::string dtype = call.text("outDtype", "f32");
  if (dtype != "f32" && dtype != "u8")
    fail(Code::InvalidArgument, "expected 'f32' or 'u8' for outDtype but received '%s'", dtype.c_str());
  return dtype == "u8" ? DType::U8 : DType::F32;
}

}  // namespace

/// pixels [height, width, 3 or 4]; size, outDtype ("f32", or "u8": before the normalisation) -> out [size, size, 3]
void image_to_tensor(Context& ctx, Call& call) {
  op::ImageToTensorArgs a;
  a.pixels = call.input("pixels");
  const int64_t size = side("image_to_tensor", call.number("size"));
  a.out = call.output("out", image_dtype(call), {size, size, 3});
  op::image_to_tensor(ctx, a);
}

/// x [height, width, 3] -> pixels, the same shape
void tensor_to_image(Context& ctx, Call& call) {
  op::TensorToImageArgs a;
  a.x = call.input("x");
  a.pixels = call.output_like("pixels", DType::U8, a.x);
  op::tensor_to_image(ctx, a);
}

/// pixels [height, width, 3]; height, width (the picture's own), outDtype ("f32", or "u8": before the means are
/// subtracted) -> out [height, width, 3]
void detector_input(Context& ctx, Call& call) {
  op::DetectorInputArgs a;
  a.pixels = call.input("pixels");
  if (a.pixels.rank != 3)
    fail(Code::InvalidArgument, "detector_input: pixels must be [height, width, 3], not %s",
         a.pixels.describe().c_str());
  const int64_t height = side("detector_input", call.number("height", static_cast<double>(a.pixels.shape[0])));
  const int64_t width = side("detector_input", call.number("width", static_cast<double>(a.pixels.shape[1])));
  a.out = call.output("out", image_dtype(call), {height, width, 3});
  op::detector_input(ctx, a);
}

/// pixels [height, width, 3]; matrix (6 numbers: row-major 2x3, image -> crop), size (112) -> out [size, size, 3]
void face_crop(Context& ctx, Call& call) {
  op::FaceCropArgs a;
  a.pixels = call.input("pixels");
  const std::vector<double> matrix = call.numbers("matrix");
  if (matrix.size() != 6)
    fail(Code::InvalidArgument, "face_crop: matrix must be 6 numbers (2x3, row-major), not %zu", matrix.size());
  std::copy(matrix.begin(), matrix.end(), a.matrix);
  const int64_t size = side("face_crop", call.number("size", 112));
  a.out = call.output("out", DType::F32, {size, size, 3});
  op::face_crop(ctx, a);
}

}  // namespace iconface::binding
