// What this machine can do at best, for benchmarks to compare operations with: arithmetic without memory, and memory
// without arithmetic. No network uses them.
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

/// out = x, all workers.
struct StreamCopyArgs {
  Tensor x, out;          // F32, one number of elements, contiguous
  bool streaming = true;  // past the caches, where the instruction set can: what is fastest for more than fits in them
};
void stream_copy(Context&, const StreamCopyArgs&);

}  // namespace iconface::op
