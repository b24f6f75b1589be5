// convert: copies rows from one float type and layout to another.
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = x, rounded to out's type. Rows of both may be strided.
struct ConvertArgs {
  Tensor x;    // [..., C] F32, BF16 or F16
  Tensor out;  // same shape, F32 or BF16; not the same memory
};
void convert(Context&, const ConvertArgs&);

}  // namespace iconface::op
