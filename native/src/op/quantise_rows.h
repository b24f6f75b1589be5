// quantise_rows: rows of numbers as e4m3 and a scale each, what linear multiplies in 8 bits.
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// scale = max(max |x| / 448, 2^-126) over the row, out = x / scale, rounded to nearest even: x is about scale * out,
/// to 4 bits beside the row's largest. A row of zeros gives zeros; one that holds an infinity or a NaN gives NaN
/// everywhere, the scale too, so that nothing is hidden. The same bits on every device.
struct QuantiseRowsArgs {
  Tensor x;      // [..., K] F32, BF16 or F16, rows may be strided
  Tensor out;    // same shape, F8_E4M3, rows may be strided
  Tensor scale;  // [..., 1] F32, may be strided
};
/// @throws InvalidArgument; Unsupported on GPUs older than sm_89
void quantise_rows(Context&, const QuantiseRowsArgs&);

}  // namespace iconface::op
