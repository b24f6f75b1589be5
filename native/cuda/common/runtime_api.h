// The CUDA runtime, or the emulator's: every runtime call of this package is in a file that includes this one.
#pragma once
#ifdef ICONFACE_CUDA_EMULATED
#include "emulator/runtime_api.h"
namespace iconface::cuda::ICONFACE_CUDA_TARGET {
using namespace iconface::emulator;
}
#else
#include <cuda_runtime.h>
#endif
