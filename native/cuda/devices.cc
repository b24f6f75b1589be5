#include <cuda_runtime_api.h>

#include "runtime/cuda_devices.h"

namespace iconface {

CudaDevices cuda_devices() {
  CudaDevices found;
  int count = 0;
  if (cudaDriverGetVersion(&found.driver) != cudaSuccess) found.driver = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    found.error = cudaGetErrorString(status);
    cudaGetLastError();  // the runtime remembers the failure; nobody else should see it
    return found;
  }
  int current = 0;
  cudaGetDevice(&current);
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties;
    size_t free = 0, total = 0;
    if ((status = cudaGetDeviceProperties(&properties, i)) != cudaSuccess ||
        (status = cudaSetDevice(i)) != cudaSuccess || (status = cudaMemGetInfo(&free, &total)) != cudaSuccess) {
      found.error = std::string("device ") + std::to_string(i) + ": " + cudaGetErrorString(status);
      cudaGetLastError();
      continue;
    }
    found.devices.push_back({properties.name, std::to_string(properties.major) + "." + std::to_string(properties.minor),
                             static_cast<int64_t>(total), static_cast<int64_t>(free)});
  }
  cudaSetDevice(current);
  return found;
}

}  // namespace iconface
