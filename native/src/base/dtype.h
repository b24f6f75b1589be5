// DType: element types of tensors, those of files and those of operations.
#pragma once
#include <cstdint>

namespace iconface {

enum class DType : uint8_t { F32, BF16, F16, F8E4M3, F64, I64, I32, I16, I8, U8, Bool };

__attribute__((always_inline)) inline int64_t dtype_bytes(DType t) {
  switch (t) {
    case DType::F64:
    case DType::I64:
      return 8;
    case DType::F32:
    case DType::I32:
      return 4;
    case DType::BF16:
    case DType::F16:
    case DType::I16:
      return 2;
    default:
      return 1;
  }
}

const char* dtype_name(DType t);          // "F32", "BF16", ... as safetensors spells it
bool parse_dtype(const char*, DType* t);  // false for an unknown name

}  // namespace iconface
