// Tensor maps: the description of a tensor, and of the boxes copied from it to shared memory, that TMA (sm_90) reads.
#pragma once
#include <cstdint>

#include "base/dtype.h"
#include "cuda/common/runtime_api.h"
#ifdef ICONFACE_CUDA_EMULATED
#include "emulator/hopper.h"
#else
#include <cuda.h>
#endif

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

#ifdef ICONFACE_CUDA_EMULATED
using TensorMap = emulator::TensorMap;
#else
using TensorMap = CUtensorMap;
#endif

/// A map of a bf16 or e4m3 tensor of 3 or 4 axes, `size` from the innermost on, which is contiguous, the others with
/// strides of `stride` elements; in boxes of 64 (128) x box_rows, rows of 128 bytes with the 128-byte swizzle. False
/// where the copy engine cannot take it (an address or stride that is no multiple of 16 bytes, a stride beyond 2^40
/// bytes).
template <int kRank>
bool make_tensor_map(TensorMap* map, const void* data, DType dtype, const int64_t (&size)[kRank],
                     const int64_t (&stride)[kRank - 1], int box_rows);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
