// The CUDA runtime's functions, or the emulator's. Every file that calls them includes this one (but for devices.cc).
#pragma once
#ifdef ICONFACE_CUDA_EMULATED
#include "emulator/runtime_api.h"
namespace iconface::cuda::ICONFACE_CUDA_TARGET {
using namespace iconface::emulator;
}
#else
#include <cuda_runtime.h>
#endif
