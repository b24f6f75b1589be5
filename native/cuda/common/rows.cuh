// Rows: addresses of a tensor's rows on the device, whatever its leading axes are.
#pragma once
#include <cstdint>

#include "base/tensor.h"
#include "cuda/common/launch.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// The leading axes of a tensor, merged where the strides allow it: nearly always one or two are left.
struct Rows {
  void* data = nullptr;
  int count = 0;   // rows in all
  int levels = 1;  // axes left
  int shape[Tensor::kMaxRank - 1] = {};
  int64_t stride[Tensor::kMaxRank - 1] = {};  // elements

  __host__ static Rows of(const Tensor& t) {
    Rows r;
    r.data = t.data;
    r.count = static_cast<int>(t.rows());
    int levels = 0;
    for (int i = 0; i + 1 < t.rank; i++) {
      if (t.shape[i] == 1) continue;
      if (levels > 0 && r.stride[levels - 1] == t.shape[i] * t.stride[i]) {
        r.shape[levels - 1] *= static_cast<int>(t.shape[i]);
        r.stride[levels - 1] = t.stride[i];
      } else {
        r.shape[levels] = static_cast<int>(t.shape[i]);
        r.stride[levels++] = t.stride[i];
      }
    }
    if (levels > 0) r.levels = levels;
    return r;
  }

  /// Every row begins at a multiple of `bytes`.
  __host__ bool aligned(int bytes, int element_bytes) const {
    bool ok = reinterpret_cast<uintptr_t>(data) % bytes == 0;
    for (int i = 0; i < levels; i++) ok = ok && stride[i] * element_bytes % bytes == 0;
    return ok;
  }

  /// Elements from the start to row `index`.
  __device__ __forceinline__ int64_t offset(int index) const {
    int64_t at = 0;
#pragma unroll
    for (int i = Tensor::kMaxRank - 2; i > 0; i--)
      if (i < levels) {
        at += index % shape[i] * stride[i];
        index /= shape[i];
      }
    return at + index * stride[0];
  }
  template <class T>
  __device__ __forceinline__ T* row(int index) const {
    return static_cast<T*>(data) + offset(index);
  }
};

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
