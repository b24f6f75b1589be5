// Argument checks of the operations, in one voice: "linear: out must be F32 or BF16 [.., 3072], not F32 [4, 5]".
#pragma once
#include "base/error.h"
#include "base/tensor.h"
#include "runtime/context.h"

namespace iconface::op {

/// Throws InvalidArgument("<op>: <printf-formatted message>") unless `condition`.
template <class... A>
inline void check(bool condition, const char* op, const char* format, A... arguments) {
  if (condition) return;
  const std::string text = std::string(op) + ": " + format;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  fail(Code::InvalidArgument, text.c_str(), arguments...);
#pragma GCC diagnostic pop
}

/// `t` has this shape (-1 accepts any size) and one of the dtypes; `expected` says so in words.
void check_tensor(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> dtypes,
                  std::initializer_list<int64_t> shape);

/// Throws Unsupported where the context's device does not multiply e4m3; the processor does.
void check_e4m3(const char* op, const Context& ctx);

/// `t` has this dtype, the axes of `x` but for the last one, and `last` as that one.
void check_rows(const char* op, const char* name, const Tensor& t, DType dtype, const Tensor& x, int64_t last);

constexpr std::initializer_list<DType> kFloat = {DType::F32, DType::BF16};
constexpr std::initializer_list<DType> kWeight = {DType::F32, DType::BF16, DType::F16};
constexpr std::initializer_list<DType> kF32 = {DType::F32};
constexpr std::initializer_list<DType> kE4m3 = {DType::F8E4M3};
constexpr std::initializer_list<DType> kU8 = {DType::U8};

}  // namespace iconface::op
