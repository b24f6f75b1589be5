#include "cuda/tensor_map.h"

#include "cuda/device.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

#ifndef ICONFACE_CUDA_EMULATED
namespace {
/// The driver's own function, found at run time: the addon is not linked against libcuda and loads without a driver.
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

bool make_tensor_map(TensorMap* map, const void* data, DType dtype, const int64_t (&size)[3],
                     const int64_t (&stride)[2], int box_rows) {
  // Axes of size 1 may have any stride; the engine still wants one it likes.
  const int64_t each = dtype_bytes(dtype);
  int64_t bytes[2];
  for (int i = 0; i < 2; i++) {
    bytes[i] = each * stride[i];
    if (size[i + 1] == 1) bytes[i] = i == 0 ? (each * size[0] + 15) / 16 * 16 : bytes[0];
    if (bytes[i] % 16 != 0 || bytes[i] <= 0 || bytes[i] >= int64_t{1} << 40) return false;
  }
  if (reinterpret_cast<uintptr_t>(data) % 16 != 0) return false;
#ifdef ICONFACE_CUDA_EMULATED
  *map = {static_cast<const char*>(data),
          static_cast<int>(each),
          {size[0], size[1], size[2]},
          {bytes[0], bytes[1]},
          box_rows};
  return true;
#else
  const Encode encode = encoder();
  if (encode == nullptr) return false;
  const cuuint64_t sizes[3] = {static_cast<cuuint64_t>(size[0]), static_cast<cuuint64_t>(size[1]),
                               static_cast<cuuint64_t>(size[2])};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(bytes[0]), static_cast<cuuint64_t>(bytes[1])};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(128 / each), static_cast<cuuint32_t>(box_rows), 1},
                   steps[3] = {1, 1, 1};
  const CUtensorMapDataType type = each == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  return encode(map, type, 3, const_cast<void*>(data), sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
#endif
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
