#include "runtime/device.h"

#include <cstdlib>

#include "base/error.h"

namespace iconface {

namespace cuda {
// native/cuda/device.cc, compiled for the GPU and for the emulated one.
namespace device {
std::unique_ptr<Device> open(int index);
}
namespace emulated {
std::unique_ptr<Device> open(int index);
}
}  // namespace cuda

std::unique_ptr<Device> open_device(const std::string& name) {
  if (name == "cpu") return nullptr;
  if (name == "cuda-emulated") {
#ifdef ICONFACE_WITH_EMULATOR
    return cuda::emulated::open(0);
#else
    fail(Code::DeviceUnavailable, "this build holds no emulator: build with -DICONFACE_EMULATOR=ON");
#endif
  }
  if (name == "cuda" || name.rfind("cuda:", 0) == 0) {
#ifdef ICONFACE_WITH_CUDA
    return cuda::device::open(name == "cuda" ? 0 : atoi(name.c_str() + 5));
#else
    fail(Code::DeviceUnavailable, "this build has no CUDA: it was made without the CUDA toolkit");
#endif
  }
  fail(Code::InvalidArgument, "expected 'cpu', 'cuda', 'cuda:<number>' or 'cuda-emulated' for device but received '%s'",
       name.c_str());
}

}  // namespace iconface
