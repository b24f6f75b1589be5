// peak_flops: the most arithmetic this machine does, for benchmarks.
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// Multiplies and adds in registers alone, on every worker.
struct PeakFlopsArgs {
  DType dtype = DType::F32;  // F32: fused multiply-add; BF16: dot product of pairs where the instruction set has one,
                             // else as F32; F8_E4M3: GPUs alone
  int64_t rounds = 0;        // 1 is about a million operations
};
/// Returns the number of floating-point operations done (a multiply-add is two).
int64_t peak_flops(Context&, const PeakFlopsArgs&);

}  // namespace iconface::op
