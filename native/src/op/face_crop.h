// face_crop: what the face encoder looks at.                                                   model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// The face that the identity encoder looks at: out(x, y) = image(A^-1 (x, y)) with A the 2x3 matrix image -> crop,
/// pixel centres at integers, outside pixels 0. Antialiased: a triangle filter as wide as one output pixel (bilinear
/// when A enlarges). Values (v / 255 - 0.5) / 0.5, channels B, G, R.
struct FaceCropArgs {
  Tensor pixels;     // [height, width, 3] U8 RGB
  double matrix[6];  // row-major 2x3: a similarity (crop = A * image)
  Tensor out;        // [112, 112, 3] F32 BGR
};
void face_crop(Context&, const FaceCropArgs&);

}  // namespace iconface::op
