// all_finite: is there a NaN or an infinity?
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// True when every element of x (F32, rows may be strided) is finite; true while planning.
bool all_finite(Context&, const Tensor& x);

}  // namespace iconface::op
