#include "network/weights.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "op/convert.h"
#include "op/linear.h"
#include "op/quantise_rows.h"
#include "op/transfer.h"
#include "op/transpose.h"
#include "runtime/device.h"

namespace iconface {

double CheckpointSpec::number(const std::string& name, double otherwise) const {
  const auto found = numbers.find(name);
  return found == numbers.end() || found->second.size() != 1 ? otherwise : found->second[0];
}

Weights::Weights(const CheckpointSpec& spec, Device* device) : device_(device) {
  files_.reserve(spec.files.size());
  for (const CheckpointSpec::File& f : spec.files) files_.emplace_back(f.path, f.size);
  for (const auto& [name, entry] : spec.tensors) tensors_[name] = place(name, entry);
}

Tensor Weights::place(const std::string& name, const CheckpointSpec::Entry& e) {
  if (e.shape.size() > Tensor::kMaxRank)
    fail(Code::InvalidCheckpoint, "tensor %s has %zu axes", name.c_str(), e.shape.size());
  int64_t needed = dtype_bytes(e.dtype), held = 0;
  for (int64_t n : e.shape)
    if (n < 0 || __builtin_mul_overflow(needed, n, &needed))
      fail(Code::InvalidCheckpoint, "tensor %s has an impossible shape", name.c_str());
  for (const CheckpointSpec::Range& r : e.parts) {
    if (r.file >= files_.size())
      fail(Code::InvalidCheckpoint, "tensor %s names file %zu of %zu", name.c_str(), r.file, files_.size());
    files_[r.file].at(r.offset, r.bytes);
    held += r.bytes;
  }
  if (held != needed || e.parts.empty())
    fail(Code::InvalidCheckpoint, "tensor %s needs %lld bytes, its ranges hold %lld", name.c_str(),
         static_cast<long long>(needed), static_cast<long long>(held));
  Tensor t = Tensor::of(nullptr, e.dtype, e.shape.data(), static_cast<int>(e.shape.size()));
  if (e.parts.size() == 1) {
    t.data = files_[e.parts[0].file].at(e.parts[0].offset, e.parts[0].bytes);
    return t;
  }
  joined_.emplace_back(std::max<int64_t>(t.bytes(), 1));
  private_bytes_ += t.bytes();
  t.data = joined_.back().data();
  char* to = t.as<char>();
  for (const CheckpointSpec::Range& r : e.parts) {
    memcpy(to, files_[r.file].at(r.offset, r.bytes), static_cast<size_t>(r.bytes));
    to += r.bytes;
  }
  return t;
}

const Tensor& Weights::stored(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail(Code::InvalidCheckpoint, "tensor %s is missing from the checkpoint", name.c_str());
  const Tensor& t = found->second;
  if (t.rank < 1 || (t.dtype != DType::F32 && t.dtype != DType::BF16 && t.dtype != DType::F16))
    fail(Code::InvalidCheckpoint, "tensor %s is %s, but weights must be F32, BF16 or F16: convert the file",
         name.c_str(), t.describe().c_str());
  return t;
}

Tensor Weights::get(const std::string& name) {
  Tensor t = stored(name);
  if (device_ == nullptr || replaced_.count(name) != 0) return t;
  Pages& copy = uploaded_[name];
  if (copy.data() == nullptr) {
    copy = Pages(std::max<int64_t>(t.bytes(), 1), device_);
    device_->upload(copy.data(), t.data, t.bytes());
  }
  t.data = copy.data();
  return t;
}

Tensor Weights::get(const std::string& name, std::initializer_list<int64_t> shape) {
  check_shape(name, stored(name), shape);
  return get(name);
}

Tensor Weights::loaded(const std::string& name, std::initializer_list<int64_t> shape) const {
  Tensor t = stored(name);
  check_shape(name, t, shape);
  if (device_ == nullptr || replaced_.count(name) != 0) return t;
  const auto found = uploaded_.find(name);
  if (found == uploaded_.end()) fail(Code::Internal, "tensor %s is not on the device yet", name.c_str());
  t.data = found->second.data();
  return t;
}

std::vector<float> Weights::values(const std::string& name, std::initializer_list<int64_t> shape) const {
  const Tensor& t = stored(name);
  check_shape(name, t, shape);
  if (device_ != nullptr && replaced_.count(name) != 0)
    fail(Code::Internal, "tensor %s is no more on the host", name.c_str());
  std::vector<float> list(static_cast<size_t>(t.elements()));
  for (size_t i = 0; i < list.size(); i++) {
    // A mapped tensor may start at any byte.
    const char* at = t.as<char>() + i * static_cast<size_t>(dtype_bytes(t.dtype));
    if (t.dtype == DType::F32) {
      memcpy(&list[i], at, 4);
    } else if (t.dtype == DType::BF16) {
      uint16_t bits;
      memcpy(&bits, at, 2);
      const uint32_t wide = static_cast<uint32_t>(bits) << 16;
      memcpy(&list[i], &wide, 4);
    } else {
      _Float16 half;
      memcpy(&half, at, 2);
      list[i] = static_cast<float>(half);
    }
  }
  return list;
}

void Weights::check_shape(const std::string& name, const Tensor& t, std::initializer_list<int64_t> shape) {
  bool fits = t.rank == static_cast<int>(shape.size());
  int axis = 0;
  std::string expected;
  for (int64_t n : shape) {
    fits = fits && (n < 0 || t.shape[axis] == n);
    expected += (axis++ ? ", " : "") + (n < 0 ? std::string("*") : std::to_string(n));
  }
  if (!fits)
    fail(Code::InvalidCheckpoint, "tensor %s must be [%s], not %s", name.c_str(), expected.c_str(),
         t.describe().c_str());
}

Tensor Weights::f32(Context& ctx, const std::string& name, std::initializer_list<int64_t> shape) {
  const Tensor t = get(name, shape);
  // A mapped tensor may start at any byte; vectors are read as aligned floats, so an odd start is copied too. (A
  // device's copy starts where it should.)
  if (t.dtype == DType::F32 && reinterpret_cast<uintptr_t>(t.data) % 4 == 0) return t;
  const Tensor copy = allocate_like(DType::F32, t);
  op::convert(ctx, {.x = t, .out = copy});
  if (!ctx.planning()) replace(name, copy);  // whoever asks again gets this copy
  return copy;
}

Tensor Weights::scaled(Context& ctx, const std::string& name, std::initializer_list<int64_t> shape, float factor) {
  std::vector<float> list = values(name, shape);
  for (float& v : list) v *= factor;
  return keep(ctx, list, shape);
}

Tensor Weights::keep(Context& ctx, const std::vector<float>& values, std::initializer_list<int64_t> shape) {
  const Tensor t = allocate(DType::F32, shape);
  auto* data = const_cast<float*>(values.data());
  op::upload_into(ctx, Tensor::of(data, DType::F32, shape), t);
  return t;
}

void Weights::release(const std::string& name) {
  uploaded_.erase(name);
  if (replaced_.count(name) == 0) return;
  const char* data = tensors_[name].as<char>();
  const auto found = std::find_if(memory_.begin(), memory_.end(), [&](const Pages& p) { return p.data() == data; });
  if (found == memory_.end()) fail(Code::Internal, "tensor %s has no memory of its own", name.c_str());
  if (device_ == nullptr) private_bytes_ -= tensors_[name].bytes();
  memory_.erase(found);
}

Matrix Weights::matrix(Context& ctx, const std::string& name, std::initializer_list<int64_t> shape, bool e4m3) {
  if (!e4m3) return {get(name, shape)};
  check_shape(name, stored(name), shape);
  const auto found = quantised_.find(name);
  if (found != quantised_.end()) return found->second;
  const Tensor t = get(name);
  const int64_t rows = t.shape[0], columns = t.shape[1];
  if (ctx.planning())  // addresses to check shapes with
    return {Tensor::of(t.data, DType::F8E4M3, {rows, columns}), Tensor::of(t.data, DType::F32, {rows, 1})};
  const Matrix m{allocate(DType::F8E4M3, {rows, columns}), allocate(DType::F32, {rows, 1})};
  op::quantise_rows(ctx, {.x = t, .out = m.weight, .scale = m.scale});
  release(name);
  return quantised_[name] = m;
}

void Weights::replace(const std::string& name, const Tensor& tensor) {
  tensors_[name] = tensor;
  replaced_.insert(name);
  uploaded_.erase(name);
}

Tensor Weights::allocate(DType dtype, std::initializer_list<int64_t> shape) {
  return allocate_like(dtype, Tensor::of(nullptr, dtype, shape));
}

Tensor Weights::allocate_like(DType dtype, const Tensor& shape) {
  Tensor t = Tensor::of(nullptr, dtype, shape.shape, shape.rank);
  memory_.emplace_back(std::max<int64_t>(t.bytes(), 1), device_);
  if (device_ == nullptr) private_bytes_ += t.bytes();
  t.data = memory_.back().data();
  return t;
}

void Weights::expect(const Tensor& t) const {
  for (const MappedFile& f : files_)
    if (f.holds(t.data)) f.expect(t.data, t.bytes());
}

void Weights::forget(const Tensor& t) const {
  for (const MappedFile& f : files_)
    if (f.holds(t.data)) f.forget(t.data, t.bytes());
}

int64_t Weights::device_bytes() const {
  int64_t n = 0;
  if (device_ == nullptr) return n;
  for (const auto& [name, pages] : uploaded_) n += pages.bytes();
  for (const Pages& pages : memory_) n += pages.bytes();
  return n;
}

int64_t Weights::mapped_bytes() const {
  int64_t n = 0;
  for (const MappedFile& f : files_) n += f.size();
  return n;
}

void Weights::check_unchanged() const {
  for (const MappedFile& f : files_) f.check_unchanged();
}

namespace {
// Rows of W merged at a time: their f32 copy stays small beside the matrix.
constexpr int64_t kMergeRows = 1024;

/// W[first..first+count] += factor * B A for one LoRA, in those of the rows that it changes; `rows` holds them,
/// [count, in].
void add_rows(Context& ctx, Weights& weights, const CheckpointSpec::Lora& lora, int64_t first, const Tensor& rows) {
  const int64_t in = rows.shape[1];
  const Tensor a = weights.get(lora.a, {-1, in});
  const int64_t rank = a.shape[0];
  const Tensor b = weights.get(lora.b, {-1, rank});
  const int64_t begin = std::max(first, lora.row), end = std::min(first + rows.shape[0], lora.row + b.shape[0]);
  if (begin >= end) return;
  const int64_t n = end - begin;
  Workspace::Frame frame(ctx.workspace);
  const Tensor a32 = ctx.workspace.tensor(DType::F32, {rank, in}), at = ctx.workspace.tensor(DType::F32, {in, rank});
  std::vector<float> factors(static_cast<size_t>(in), static_cast<float>(lora.factor));
  const Tensor b32 = ctx.workspace.tensor(DType::F32, {1, n, rank});
  const Tensor factor = op::upload(ctx, Tensor::of(factors.data(), DType::F32, {in}));
  op::convert(ctx, {.x = a, .out = a32});
  op::transpose(ctx, {.x = a32, .out = at});
  op::convert(ctx, {.x = b.slice(0, begin - lora.row, end - lora.row).reshape({1, n, rank}), .out = b32});
  op::linear(ctx, {.x = b32,
                   .weight = at,
                   .out = rows.slice(0, begin - first, end - first).reshape({1, n, in}),
                   .gate = op::Segmented::all(n, factor)});
}
}  // namespace

void merge_loras(Context& ctx, Weights& weights, const std::vector<CheckpointSpec::Lora>& loras, DType dtype) {
  std::map<std::string, std::vector<const CheckpointSpec::Lora*>> by_matrix;
  for (const CheckpointSpec::Lora& lora : loras) by_matrix["transformer." + lora.module + ".weight"].push_back(&lora);
  for (const auto& [name, list] : by_matrix) {
    const Tensor base = weights.get(name, {-1, -1});
    const int64_t out = base.shape[0], in = base.shape[1];
    for (const CheckpointSpec::Lora* lora : list) {
      const Tensor b = weights.get(lora->b, {-1, weights.get(lora->a, {-1, in}).shape[0]});
      if (lora->row > out - b.shape[0])
        fail(Code::InvalidCheckpoint, "LoRA %s changes %lld rows from row %lld of %s, which has %lld", lora->b.c_str(),
             static_cast<long long>(b.shape[0]), static_cast<long long>(lora->row), name.c_str(),
             static_cast<long long>(out));
    }
    // While planning, an address to check shapes with; not `base` itself, whose type (F16) nothing may be stored in.
    const Tensor merged = ctx.planning() ? Tensor::of(base.data, dtype, {out, in}) : weights.allocate(dtype, {out, in});
    Workspace::Frame frame(ctx.workspace);
    const Tensor rows = ctx.workspace.tensor(DType::F32, {std::min(out, kMergeRows), in});
    for (int64_t first = 0; first < out; first += kMergeRows) {
      ctx.check_cancelled();
      const int64_t end = std::min(out, first + kMergeRows);
      const Tensor part = rows.slice(0, 0, end - first);
      op::convert(ctx, {.x = base.slice(0, first, end), .out = part});
      for (const CheckpointSpec::Lora* lora : list) add_rows(ctx, weights, *lora, first, part);
      op::convert(ctx, {.x = part, .out = merged.slice(0, first, end)});
    }
    if (ctx.planning()) continue;
    weights.replace(name, merged);
    for (const CheckpointSpec::Lora* lora : list) weights.release(lora->a), weights.release(lora->b);
  }
}

}  // namespace iconface
