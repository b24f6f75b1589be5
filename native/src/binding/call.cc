#include "binding/call.h"

#include <algorithm>
#include <cstring>

namespace iconface::binding {

namespace {
constexpr int64_t kCheckedBytes = 16 << 20;  // smaller results are not worth asking the system
}

Tensor Call::input(const char* name) const {
  const Tensor t = optional(name);
  if (!t.defined()) fail(Code::InvalidArgument, "tensor '%s' is missing", name);
  return t;
}

Tensor Call::optional(const char* name) const {
  const Tensor* found = look_up(inputs, name);
  return found == nullptr ? Tensor{} : *found;
}

double Call::number(const char* name) const {
  const std::vector<double>* found = look_up(number_lists, name);
  if (found == nullptr || found->size() != 1) fail(Code::InvalidArgument, "number '%s' is missing", name);
  return (*found)[0];
}

double Call::number(const char* name, double otherwise) const {
  return look_up(number_lists, name) != nullptr ? number(name) : otherwise;
}

int64_t Call::size(const char* name, int64_t otherwise) const {
  return look_up(number_lists, name) != nullptr ? size(name) : otherwise;
}

int64_t Call::size(const char* name) const {
  const double value = number(name);
  if (!(value >= 1 && value <= INT32_MAX) || value != static_cast<double>(static_cast<int64_t>(value)))
    fail(Code::InvalidArgument, "expected a whole number of 1 or more for %s but received %g", name, value);
  return static_cast<int64_t>(value);
}

int Call::whole(const char* name, double otherwise) const {
  const double value = number(name, otherwise);
  if (!(value >= INT32_MIN && value <= INT32_MAX) || value != static_cast<double>(static_cast<int>(value)))
    fail(Code::InvalidArgument, "expected a whole number for %s but received %g", name, value);
  return static_cast<int>(value);
}

std::vector<double> Call::numbers(const char* name) const {
  const std::vector<double>* found = look_up(number_lists, name);
  return found == nullptr ? std::vector<double>{} : *found;
}

std::string Call::text(const char* name, const char* otherwise) const {
  const std::string* found = look_up(texts, name);
  return found == nullptr ? otherwise : *found;
}

DType Call::dtype(const char* name, DType otherwise) const {
  const std::string* found = look_up(texts, name);
  if (found == nullptr) return otherwise;
  if (*found == "f32") return DType::F32;
  if (*found == "bf16") return DType::BF16;
  fail(Code::InvalidArgument, "expected 'f32' or 'bf16' for %s but received '%s'", name, found->c_str());
}

void Call::refuse_unused() const {
  const auto refuse = [this](const auto& map, const char* what) {
    for (const auto& [name, value] : map)
      if (!looked_up_.count(name)) fail(Code::InvalidArgument, "%s '%s' is not one this takes", what, name.c_str());
  };
  refuse(inputs, "tensor");
  refuse(number_lists, "parameter");
  refuse(texts, "parameter");
}

Tensor Call::output(const char* name, DType dtype, std::initializer_list<int64_t> shape) {
  return output_like(name, dtype, Tensor::of(nullptr, dtype, shape));
}

Tensor Call::output_like(const char* name, DType dtype, const Tensor& shape) {
  return add_output(name, dtype, shape, device);
}

Tensor Call::host_output(const char* name, DType dtype, std::initializer_list<int64_t> shape) {
  return add_output(name, dtype, Tensor::of(nullptr, dtype, shape), nullptr);
}

Tensor Call::add_output(const char* name, DType dtype, const Tensor& shape, Device* where) {
  for (const Output& o : outputs)
    if (o.name == name) return o.tensor;
  Tensor t = Tensor::of(nullptr, dtype, shape.shape, shape.rank);
  if (t.bytes() > kCheckedBytes && 2 * t.bytes() > Pages::grantable())  // JavaScript gets a copy
    fail(Code::OutOfMemory, "the result %s, %s, does not fit into memory twice", name, t.describe().c_str());
  Pages memory(t.bytes() > 0 ? t.bytes() : 1, where);
  t.data = memory.data();
  outputs.push_back({name, t, std::move(memory), where == nullptr});
  return t;
}

void Call::fetch_outputs() {
  for (Output& o : outputs) {
    if (o.on_host) continue;
    Pages memory(o.memory.bytes());
    device->download(memory.data(), o.tensor.data, o.tensor.bytes());
    o.tensor.data = memory.data();
    o.memory = std::move(memory);
    o.on_host = true;
  }
  places_.clear();
  spread_.clear();
}

Tensor Call::inout(const Context& ctx, const char* name) {
  const Tensor from = input(name);
  const Tensor to = output_like(name, from.dtype, from);
  if (ctx.planning() || !places_.empty()) return to;
  const Stopwatch watch;
  if (device != nullptr) {
    device->copy(to.data, from.data, from.bytes());
    begun = device->mark();
  } else {
    memcpy(to.data, from.data, from.bytes());
  }
  copying += watch.read();
  return to;
}

void Call::spread(int64_t runs) {
  std::vector<std::pair<Tensor*, const void*>> operands;  // and what they begin as
  int64_t bytes = 1;
  const auto add = [&](Tensor& operand, const void* begins_as) {
    operands.emplace_back(&operand, begins_as);
    bytes += operand.bytes();
  };
  for (auto& [name, tensor] : inputs) add(tensor, tensor.data);
  for (Output& o : outputs)
    if (const auto same = inputs.find(o.name); !o.on_host)
      add(o.tensor, same == inputs.end() ? nullptr : same->second.data);

  const int64_t count = std::min(runs, 1 + 2 * device->cache_bytes() / bytes);
  for (const auto& [operand, begins_as] : operands) {
    Places places{operand, {operand->data}};
    for (int64_t i = 1; i < count; i++) {
      spread_.emplace_back(std::max<int64_t>(operand->bytes(), 1), device);
      places.data.push_back(spread_.back().data());
    }
    for (void* place : places.data)
      if (begins_as != nullptr && place != begins_as) device->copy(place, begins_as, operand->bytes());
    places_.push_back(std::move(places));
  }
}

void Call::take_turn(int64_t run) {
  for (const Places& p : places_) p.operand->data = p.data[static_cast<size_t>(run) % p.data.size()];
}

Tensor Call::map(const char* kind, const char* name) const {
  const Tensor t = input(name);
  if (t.rank != 4) fail(Code::InvalidArgument, "%s: %s must be [B, H, W, C], not %s", kind, name, t.describe().c_str());
  return t;
}

DType Call::picture_dtype() const {
  const std::string dtype = text("outDtype", "f32");
  if (dtype != "f32" && dtype != "u8")
    fail(Code::InvalidArgument, "expected 'f32' or 'u8' for outDtype but received '%s'", dtype.c_str());
  return dtype == "u8" ? DType::U8 : DType::F32;
}

int64_t window_places(int64_t length, int64_t size, int stride, int pad, int64_t most_pad) {
  if (size < 1 || stride < 1 || pad < 0 || pad > most_pad) return 1;
  const int64_t room = length + 2 * static_cast<int64_t>(pad) - size;
  return room < 0 ? 1 : room / stride + 1;
}

int64_t picture_side(const char* kind, double size) {
  if (!(size >= 1 && size <= 1 << 20))
    fail(Code::InvalidArgument, "%s: size must be a number of pixels from 1 to 1048576, but is %g", kind, size);
  return static_cast<int64_t>(size);
}

}  // namespace iconface::binding
