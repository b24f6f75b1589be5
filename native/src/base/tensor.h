// Tensor: a strided view of memory that something else owns: a workspace, a mapped file, a caller's buffer.
// Copying a Tensor copies the view. The last axis is always contiguous (stride 1).
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/dtype.h"

// For functions that native/src/cpu calls. That code is compiled once per instruction set, and of an inline function
// that is not inlined the linker keeps one copy: an older CPU could meet a newer one's instructions there.
#define ICONFACE_INLINE __attribute__((always_inline)) inline

namespace iconface {

struct Tensor {
  static constexpr int kMaxRank = 5;

  void* data = nullptr;
  DType dtype = DType::F32;
  int rank = 0;
  int64_t shape[kMaxRank] = {};
  int64_t stride[kMaxRank] = {};  // in elements

  /// A contiguous view of `data`.
  static Tensor of(void* data, DType dtype, std::initializer_list<int64_t> shape);
  static Tensor of(void* data, DType dtype, const int64_t* shape, int rank);

  ICONFACE_INLINE bool defined() const { return data != nullptr; }
  ICONFACE_INLINE int64_t last() const { return shape[rank - 1]; }
  ICONFACE_INLINE int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    return n;
  }
  /// Elements divided by the size of the last axis.
  ICONFACE_INLINE int64_t rows() const {
    int64_t n = 1;
    for (int i = 0; i + 1 < rank; i++) n *= shape[i];
    return n;
  }
  ICONFACE_INLINE int64_t bytes() const { return elements() * dtype_bytes(dtype); }
  template <class T>
  ICONFACE_INLINE T* as() const {
    return static_cast<T*>(data);
  }
  /// Address of row `index` (row-major over all axes but the last), whatever the strides.
  template <class T>
  ICONFACE_INLINE T* row(int64_t index) const {
    int64_t offset = 0;
    for (int i = rank - 2; i >= 0; i--) {
      offset += (index % shape[i]) * stride[i];
      index /= shape[i];
    }
    return static_cast<T*>(data) + offset;
  }

  /// The same for copies that ignore the type.
  ICONFACE_INLINE char* row_address(int64_t index) const {
    return static_cast<char*>(data) + (row<char>(index) - static_cast<char*>(data)) * dtype_bytes(dtype);
  }

  bool contiguous() const;
  /// Elements [begin, end) of `axis`.
  Tensor slice(int axis, int64_t begin, int64_t end) const;
  /// Element `index` of `axis`, without that axis.
  Tensor select(int axis, int64_t index) const;
  /// Axis `axis`, of size 1, repeated n times.
  Tensor expand(int axis, int64_t n) const;
  /// The same elements in another shape. The last axis may be split (into heads). Other axes are merged or split
  /// where the strides allow it without a copy; else an internal error is thrown.
  Tensor reshape(std::initializer_list<int64_t> shape) const;

  bool has_shape(std::initializer_list<int64_t> expected) const;
  std::string describe() const;  // "bf16 [2, 77, 3072]", for messages
};

}  // namespace iconface
