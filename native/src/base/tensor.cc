#include "base/tensor.h"

#include <cstring>

#include "base/error.h"

namespace iconface {

namespace {
struct Named {
  DType dtype;
  const char* name;
};
constexpr int64_t kMaxElements = int64_t{1} << 48;  // sizes in bytes, and their sums, then fit 64 bits
constexpr Named kNames[] = {{DType::F32, "F32"},        {DType::BF16, "BF16"}, {DType::F16, "F16"},
                            {DType::F8E4M3, "F8_E4M3"}, {DType::F64, "F64"},   {DType::I64, "I64"},
                            {DType::I32, "I32"},        {DType::I16, "I16"},   {DType::I8, "I8"},
                            {DType::U8, "U8"},          {DType::Bool, "BOOL"}};
}  // namespace

const char* dtype_name(DType t) {
  for (const Named& n : kNames)
    if (n.dtype == t) return n.name;
  return "?";
}

bool parse_dtype(const char* name, DType* t) {
  for (const Named& n : kNames)
    if (strcmp(n.name, name) == 0) {
      *t = n.dtype;
      return true;
    }
  return false;
}

Tensor Tensor::of(void* data, DType dtype, const int64_t* shape, int rank) {
  if (rank < 0 || rank > kMaxRank) fail(Code::Internal, "tensor of rank %d", rank);
  Tensor t;
  t.data = data;
  t.dtype = dtype;
  t.rank = rank;
  int64_t step = 1;
  for (int i = rank - 1; i >= 0; i--) {
    t.shape[i] = shape[i];
    t.stride[i] = step;
    if (shape[i] < 0 || __builtin_mul_overflow(step, shape[i], &step) || step > kMaxElements)
      fail(Code::OutOfMemory, "a tensor with an axis of %lld is larger than any memory",
           static_cast<long long>(shape[i]));
  }
  return t;
}

Tensor Tensor::of(void* data, DType dtype, std::initializer_list<int64_t> shape) {
  return of(data, dtype, shape.begin(), static_cast<int>(shape.size()));
}

bool Tensor::contiguous() const {
  int64_t step = 1;
  for (int i = rank - 1; i >= 0; i--) {
    if (shape[i] != 1 && stride[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t end) const {
  if (axis < 0 || axis >= rank || begin < 0 || end < begin || end > shape[axis])
    fail(Code::Internal, "slice [%lld, %lld) of axis %d of %s", static_cast<long long>(begin),
         static_cast<long long>(end), axis, describe().c_str());
  Tensor t = *this;
  t.data = static_cast<char*>(data) + begin * stride[axis] * dtype_bytes(dtype);
  t.shape[axis] = end - begin;
  return t;
}

Tensor Tensor::select(int axis, int64_t index) const {
  Tensor t = slice(axis, index, index + 1);
  for (int i = axis; i + 1 < rank; i++) {
    t.shape[i] = t.shape[i + 1];
    t.stride[i] = t.stride[i + 1];
  }
  t.rank--;
  return t;
}

Tensor Tensor::expand(int axis, int64_t n) const {
  Tensor t = *this;
  if (t.shape[axis] != 1) fail(Code::Internal, "axis %d of %s cannot be expanded", axis, describe().c_str());
  t.shape[axis] = n;
  t.stride[axis] = 0;
  return t;
}

Tensor Tensor::reshape(std::initializer_list<int64_t> wanted) const {
  Tensor t = of(data, dtype, wanted);
  if (t.elements() != elements()) fail(Code::Internal, "reshape of %s to %s", describe().c_str(), t.describe().c_str());
  // Walk both shapes from the right; every group of old axes that is contiguous in itself is one run to cut up.
  int old_axis = rank - 1, new_axis = t.rank - 1;
  while (new_axis >= 0) {
    int64_t run = 1, step = 1;
    bool started = false;
    while (old_axis >= 0) {
      if (shape[old_axis] == 1) {
        old_axis--;
        continue;
      }
      if (!started) {
        step = stride[old_axis];
        run = shape[old_axis--];
        started = true;
      } else if (stride[old_axis] == step * run) {
        run *= shape[old_axis--];
      } else {
        break;
      }
    }
    int64_t left = run;
    while (new_axis >= 0 && (left > 1 || t.shape[new_axis] == 1)) {
      if (left % t.shape[new_axis] != 0)
        fail(Code::Internal, "reshape of strided %s to %s", describe().c_str(), t.describe().c_str());
      t.stride[new_axis] = step;
      step *= t.shape[new_axis];
      left /= t.shape[new_axis--];
    }
    if (old_axis < 0 && left == 1 && new_axis >= 0) break;  // only axes of size 1 are left
  }
  if (t.rank > 0) t.stride[t.rank - 1] = 1;
  return t;
}

bool Tensor::has_shape(std::initializer_list<int64_t> expected) const {
  if (static_cast<int>(expected.size()) != rank) return false;
  int i = 0;
  for (int64_t n : expected)
    if (shape[i++] != n) return false;
  return true;
}

std::string Tensor::describe() const {
  std::string text = std::string(dtype_name(dtype)) + " [";
  for (int i = 0; i < rank; i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace iconface
