// stream_copy: the most memory this machine moves, for benchmarks.
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out = x, all workers.
struct StreamCopyArgs {
  Tensor x, out;          // F32, one number of elements, contiguous
  bool streaming = true;  // past the caches, where the instruction set can: what is fastest for more than fits in them
};
void stream_copy(Context&, const StreamCopyArgs&);

}  // namespace iconface::op
