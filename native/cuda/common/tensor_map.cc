#include "cuda/common/tensor_map.h"

#include <algorithm>

#include "cuda/device.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

#ifndef ICONFACE_CUDA_EMULATED
namespace {
/// The driver's function, looked up at run time: the addon is not linked against libcuda, so it loads without a driver.
using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
Encode encoder() {
  static Encode const found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result),
          "cudaGetDriverEntryPointByVersion(cuTensorMapEncodeTiled)");
    return result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  return found;
}
}  // namespace
#endif

template <int kRank>
bool make_tensor_map(TensorMap* map, const void* data, DType dtype, const int64_t (&size)[kRank],
                     const int64_t (&stride)[kRank - 1], int box_rows) {
  // An axis of size 1 may have any stride; TMA still demands a multiple of 16 bytes.
  const int64_t each = dtype_bytes(dtype);
  int64_t bytes[kRank - 1];
  for (int i = 0; i < kRank - 1; i++) {
    bytes[i] = each * stride[i];
    if (size[i + 1] == 1) bytes[i] = i == 0 ? (each * size[0] + 15) / 16 * 16 : bytes[i - 1];
    if (bytes[i] % 16 != 0 || bytes[i] <= 0 || bytes[i] >= int64_t{1} << 40) return false;
  }
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0) return false;
#ifdef ICONFACE_CUDA_EMULATED
  *map = {static_cast<const char*>(data), static_cast<int>(each), {1, 1, 1, 1}, {}, box_rows};
  std::copy(size, size + kRank, map->size);
  std::copy(bytes, bytes + kRank - 1, map->stride_bytes);
  return true;
#else
  const Encode encode = encoder();
  if (encode == nullptr) return false;
  cuuint64_t sizes[kRank], strides[kRank - 1];
  cuuint32_t box[kRank], steps[kRank];
  for (int i = 0; i < kRank; i++) sizes[i] = static_cast<cuuint64_t>(size[i]), box[i] = steps[i] = 1;
  for (int i = 0; i < kRank - 1; i++) strides[i] = static_cast<cuuint64_t>(bytes[i]);
  box[0] = static_cast<cuuint32_t>(128 / each);
  box[1] = static_cast<cuuint32_t>(box_rows);
  const CUtensorMapDataType type = each == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  return encode(map, type, kRank, const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
}

template bool make_tensor_map(TensorMap*, const void*, DType, const int64_t (&)[3], const int64_t (&)[2], int);
template bool make_tensor_map(TensorMap*, const void*, DType, const int64_t (&)[4], const int64_t (&)[3], int);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
