// image_to_tensor: a picture resized, cut to a square and normalised.                          model-specification.md 2
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

}  // namespace iconface::op
