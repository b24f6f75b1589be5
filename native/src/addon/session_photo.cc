// Session::crop_face and paste_face: a face out of a photograph, and back into it, where its pixels lie. They need no
// model, and compute on the host whatever the session's device.
#include <array>
#include <cmath>
#include <optional>

#include "addon/convert.h"
#include "addon/limits.h"
#include "addon/options.h"
#include "addon/session.h"
#include "photo/crop.h"
#include "photo/paste.h"

namespace iconface::addon {

namespace {

constexpr double kFarthest = 1e12;  // a matrix's numbers, so that positions in 1/1024 of a pixel fit 64 bits
constexpr int kMaxCrop = 4096;

/// Stops the pool's work once the job is cancelled.
class Cancelled : public Observer {
 public:
  Cancelled(ThreadPool& pool, const Job& job) : pool_(pool), job_(job) { pool_.watch(this); }
  ~Cancelled() override { pool_.watch(nullptr); }
  Cancelled(const Cancelled&) = delete;
  Cancelled& operator=(const Cancelled&) = delete;
  bool go_on(double) noexcept override { return !job_.cancelled; }

 private:
  ThreadPool& pool_;
  const Job& job_;
};

/// A typed array of `length` values, which stays alive with `held`. Nobody may detach its memory while the job runs.
void* values_of(const Napi::Object& o, const char* name, int64_t length, napi_typedarray_type narrow,
                napi_typedarray_type wide, bool* is_wide, std::vector<Napi::ObjectReference>* held) {
  const Napi::Value data = o.Get(name);
  if (!data.IsTypedArray()) fail(Code::InvalidArgument, "expected a typed array for %s", name);
  const Napi::TypedArray array = data.As<Napi::TypedArray>();
  if (array.TypedArrayType() != narrow && array.TypedArrayType() != wide)
    fail(Code::InvalidArgument, "%s is a typed array of another type than was expected", name);
  *is_wide = array.TypedArrayType() == wide;
  if (static_cast<int64_t>(array.ElementLength()) != length)
    fail(Code::InvalidArgument, "expected %lld values for %s but received %zu", static_cast<long long>(length), name,
         array.ElementLength());
  held->push_back(Napi::Persistent(data.As<Napi::Object>()));
  return address_of(array);
}

photo::Pixels photo_from_js(const Napi::Object& job, const char* name, std::vector<Napi::ObjectReference>* held) {
  const Napi::Object o = object_option(job, name);
  photo::Pixels p;
  p.width = whole_option(o, "width", 1, kMaxSide);
  p.height = whole_option(o, "height", 1, kMaxSide);
  p.channels = whole_option(o, "channels", 1, 4);
  p.data = values_of(o, "data", p.width * p.height * p.channels, napi_uint8_array, napi_uint16_array, &p.wide, held);
  return p;
}

/// Refuses what is no square of the photograph's colours and bits.
void check_face(const photo::Pixels& face, const photo::Pixels& of) {
  if (face.width == face.height && face.width <= kMaxCrop && face.channels == of.colours() && face.wide == of.wide)
    return;
  fail(
      Code::InvalidArgument,
      "a face of this photograph is a square of at most %d pixels with %d channels of %d bits, not %lld x %lld with %d "
      "of %d",
      kMaxCrop, of.colours(), of.wide ? 16 : 8, static_cast<long long>(face.width), static_cast<long long>(face.height),
      face.channels, face.wide ? 16 : 8);
}

/// Six numbers, an invertible map.
std::array<double, 6> matrix_from_js(const Napi::Object& job) {
  const std::vector<double> numbers = numbers_from_js(job.Get("matrix"), "matrix");
  std::array<double, 6> matrix{};
  bool fits = numbers.size() == matrix.size();
  for (size_t i = 0; fits && i < matrix.size(); i++) {
    matrix[i] = numbers[i];
    fits = std::fabs(numbers[i]) <= kFarthest;
  }
  const double determinant = std::fabs(matrix[0] * matrix[4] - matrix[1] * matrix[3]);
  if (!fits || !(determinant >= 1e-12 && determinant <= 1e12))
    fail(Code::InvalidArgument, "matrix must be six numbers (2x3, row-major) of an invertible map");
  return matrix;
}

}  // namespace

Napi::Value Session::crop_face(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    if (!info[0].IsObject()) fail(Code::InvalidArgument, "expected (job)");
    const Napi::Object job = info[0].As<Napi::Object>();
    Jobs::Pending pending;
    const photo::Pixels source = photo_from_js(job, "photo", &pending.held);
    const photo::Pixels out = photo_from_js(job, "out", &pending.held);
    check_face(out, source);
    const std::array<double, 6> matrix = matrix_from_js(job);
    const std::string border = choice_option(job, "border", {"constant", "reflect", "reflect101"});
    const photo::Border mode = border == "constant"  ? photo::Border::Constant
                               : border == "reflect" ? photo::Border::Reflect
                                                     : photo::Border::Reflect101;
    const auto work = [this, source, out, matrix, mode](Jobs::Task& task) -> Jobs::Answer {
      const Cancelled watching(*pool_, task);
      photo::crop(*pool_, source, matrix.data(), mode, out);
      return [](Napi::Env env) { return env.Undefined(); };
    };
    return Napi::Value(submit_cancellable(info.Env(), work, std::move(pending)));
  });
}

Napi::Value Session::paste_face(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    if (!info[0].IsObject()) fail(Code::InvalidArgument, "expected (job)");
    const Napi::Object job = info[0].As<Napi::Object>();
    Jobs::Pending pending;
    const photo::Pixels target = photo_from_js(job, "photo", &pending.held);
    const photo::Pixels restored = photo_from_js(job, "restored", &pending.held);
    check_face(restored, target);
    const std::array<double, 6> matrix = matrix_from_js(job);
    const int size = whole_option(job, "size", 1, kMaxCrop);
    const double softness = number_option(job, "softness", 0.25, 4);
    const photo::Beyond beyond = choice_option(job, "beyond", {"photograph", "black"}) == "black"
                                     ? photo::Beyond::Black
                                     : photo::Beyond::Photograph;
    const Napi::Object mask = object_option(job, "mask");
    photo::Rectangle part;
    part.left = whole_option(mask, "left", 0, kMaxSide), part.top = whole_option(mask, "top", 0, kMaxSide);
    part.right = part.left + whole_option(mask, "width", 0, static_cast<int>(target.width - part.left));
    part.bottom = part.top + whole_option(mask, "height", 0, static_cast<int>(target.height - part.top));
    bool floats = false;
    void* const shares = values_of(mask, "data", part.width() * part.height(), napi_uint8_array, napi_float32_array,
                                   &floats, &pending.held);
    const auto work = [=, this](Jobs::Task& task) -> Jobs::Answer {
      std::optional<photo::Paste> paste;
      {
        const Cancelled watching(*pool_, task);
        paste.emplace(*pool_, target, restored, matrix.data(), size, softness, beyond, part);
      }
      if (task.cancelled) fail(Code::Aborted, "the job was cancelled");
      paste->write(*pool_, shares, floats);
      return [](Napi::Env env) { return env.Undefined(); };
    };
    return Napi::Value(submit_cancellable(info.Env(), work, std::move(pending)));
  });
}

}  // namespace iconface::addon
