// The GPU's operations as a Backend. Nothing falls back to the CPU.
#include "base/error.h"
#include "cuda/kernels.h"
#include "runtime/device.h"

#define ICONFACE_TEXT_(x) #x
#define ICONFACE_TEXT(x) ICONFACE_TEXT_(x)

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

extern const Backend backend;
const Backend backend = {.name = "cuda/" ICONFACE_TEXT(ICONFACE_CUDA_TARGET),
#define X(result, operation, Arguments) .operation = operation,
                         ICONFACE_OPERATIONS(X)
#undef X
};

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
