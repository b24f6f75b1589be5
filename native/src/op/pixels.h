// Pictures to tensors and back.                                                             model-specification.md 2, 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// The short side is resized to `size` (antialiased bicubic, a = -0.5, 8-bit, bit-exact with Pillow: horizontal pass
/// first, weights in 22 fractional bits), the long side truncated to an integer; centre crop with the offset rounded
/// half to even; then (v / 255 - 0.5) / 0.5.
struct ImageToTensorArgs {
  Tensor pixels;  // [height, width, 3 or 4] U8, RGB(A); alpha is dropped
  Tensor out;     // [size, size, 3] F32 or U8 (U8: before the normalisation)
};
void image_to_tensor(Context&, const ImageToTensorArgs&);

/// Clamp to [-1, 1], (x + 1) * 127.5 in f32, truncated. A NaN gives 0; callers check for NaN first.
struct TensorToImageArgs {
  Tensor x;       // [height, width, 3] F32
  Tensor pixels;  // [height, width, 3] U8
};
void tensor_to_image(Context&, const TensorToImageArgs&);

/// What RetinaFace reads: channels B, G, R less their means 104, 117, 123. A picture of another size than `out` is resized
/// first, to 8 bits, bilinear with half-pixel centres and OpenCV's fixed-point weights (in 1/2048), bit-exact with it.
struct DetectorInputArgs {
  Tensor pixels;  // [H, W, 3] U8 RGB
  Tensor out;     // [h, w, 3] F32, or U8: before the means are subtracted
};
void detector_input(Context&, const DetectorInputArgs&);

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
