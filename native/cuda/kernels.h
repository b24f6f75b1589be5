// The GPU's operations (and the emulated GPU's). A launcher's tensors lie in device memory, and their shapes were
// checked. It takes its scratch from the workspace, queues kernels unless it is planning, and does not wait.
// Two wait, because the host needs their answers: embedding (ids that are outside the table) and all_finite.
#pragma once
#include "op/backend.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

#define X(result, operation, Arguments) result operation(Context&, const Arguments&);
ICONFACE_OPERATIONS(X)
#undef X

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
