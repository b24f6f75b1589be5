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

/// Throws Unsupported where the context's device does not multiply e4m3; the CPU does.
void check_e4m3(const char* op, const Context& ctx);

/// `t` has this dtype, the axes of `x` but for the last one, and `last` as that one.
void check_rows(const char* op, const char* name, const Tensor& t, DType dtype, const Tensor& x, int64_t last);

/// `t` has the shape of `x`, which is called `like`.
void check_same(const char* op, const char* name, const Tensor& t, const char* like, const Tensor& x);

/// `t` is F32 without gaps.
void check_flat_f32(const char* op, const char* name, const Tensor& t);

void check_contiguous(const char* op, const char* name, const Tensor& t);

/// `pixels` is contiguous, and its sides are 1 to 2^20.
void check_picture(const char* op, const Tensor& pixels, const char* name = "pixels");

/// `t` is a whole feature map, neither strided nor empty, of one of the dtypes and this shape (-1 accepts any size).
void check_map(const char* op, const char* name, const Tensor& t, std::initializer_list<DType> dtypes,
               std::initializer_list<int64_t> shape);

/// A window of these sides passes over the map `x`.
void check_window(const char* op, const Tensor& x, int64_t height, int64_t width);

/// `heads` divide `width`; there are memory tokens and a rank.
void check_heads(const char* op, int64_t width, int64_t heads, int64_t memory, int64_t rank);

/// `t` is [rows * columns, width] F32, a grid of tokens.
void check_grid(const char* op, const char* name, const Tensor& t, int64_t rows, int64_t columns, int64_t width);

constexpr int64_t kMaxSide = 1 << 20;  // of a picture, in pixels

constexpr std::initializer_list<DType> kFloat = {DType::F32, DType::BF16};
constexpr std::initializer_list<DType> kWeight = {DType::F32, DType::BF16, DType::F16};
constexpr std::initializer_list<DType> kF32 = {DType::F32};
constexpr std::initializer_list<DType> kE4m3 = {DType::F8E4M3};
constexpr std::initializer_list<DType> kU8 = {DType::U8};

}  // namespace iconface::op
