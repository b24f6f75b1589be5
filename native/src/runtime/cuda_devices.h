// cuda_devices: the GPUs of this machine, as `iconface doctor` lists them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace iconface {

struct CudaDevice {
  std::string name;
  std::string capability;       // "9.0"
  int64_t total = 0, free = 0;  // bytes
};

struct CudaDevices {
  int driver = 0;     // the CUDA version the driver supports, as 13000 for 13.0; 0 when there is no driver
  std::string error;  // why there is no device, as the CUDA runtime says it; empty when there is one
  std::vector<CudaDevice> devices;
};

/// Never throws. No driver, an old driver or no device give an empty list and `error`.
CudaDevices cuda_devices();

}  // namespace iconface
