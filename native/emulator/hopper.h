// What the emulator knows of Hopper: the shape of a tensor map. Its instructions (wgmma, TMA, mbarrier) are not emulated yet:
// the emulated GPU is an sm_80, ICONFACE_SM90A stays undefined, and launchers choose the mma.sync kernels.
#pragma once
#include <cstdint>

namespace iconface::emulator {

/// A bf16 tensor [size[2], size[1], size[0]] with strides of stride_bytes, in boxes of 64 x box_rows x 1.
struct TensorMap {
  const char* data;
  int64_t size[3], stride_bytes[2];
  int box_rows;
};

}  // namespace iconface::emulator
