// tensor_to_image: numbers to the bytes of a picture.                                          model-specification.md 2
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// Clamp to [-1, 1], (x + 1) * 127.5 in f32, truncated. A NaN gives 0; callers check for NaN first.
struct TensorToImageArgs {
  Tensor x;       // [height, width, 3] F32
  Tensor pixels;  // [height, width, 3] U8
};
void tensor_to_image(Context&, const TensorToImageArgs&);

}  // namespace iconface::op
