// The GPUs of this machine, for `iconface doctor` and the choice of a device.
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
  std::string error;  // why there is no device, in the runtime's words; empty when there is one
  std::vector<CudaDevice> devices;
};

/// Never throws: no driver, an old driver or no device make an empty list and an error text.
CudaDevices cuda_devices();

}  // namespace iconface
