#include "op/face_crop.h"

#include <algorithm>

#include "binding/call.h"

namespace iconface::binding {

/// pixels [height, width, 3]; matrix (6 numbers: row-major 2x3, image -> crop), size (112) -> out [size, size, 3]
void face_crop(Context& ctx, Call& call) {
  op::FaceCropArgs a;
  a.pixels = call.input("pixels");
  const std::vector<double> matrix = call.numbers("matrix");
  if (matrix.size() != 6)
    fail(Code::InvalidArgument, "face_crop: matrix must be 6 numbers (2x3, row-major), not %zu", matrix.size());
  std::copy(matrix.begin(), matrix.end(), a.matrix);
  const int64_t size = picture_side("face_crop", call.number("size", 112));
  a.out = call.output("out", DType::F32, {size, size, 3});
  op::face_crop(ctx, a);
}

}  // namespace iconface::binding
