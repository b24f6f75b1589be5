#include "addon/options.h"

#include <cmath>

#include "addon/convert.h"
#include "addon/limits.h"

namespace iconface::addon {

std::string text_option(const Napi::Object& o, const char* name, const std::string& otherwise) {
  const Napi::Value v = o.Get(name);
  if (v.IsUndefined() || v.IsNull()) return otherwise;
  if (!v.IsString()) fail(Code::InvalidArgument, "expected a string for %s", name);
  return v.As<Napi::String>().Utf8Value();
}

double number_option(const Napi::Object& o, const char* name, double lowest, double highest) {
  const Napi::Value v = o.Get(name);
  const double n = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : NAN;
  if (!(n >= lowest && n <= highest))
    fail(Code::InvalidArgument, "expected a number from %g to %g for %s but received %g", lowest, highest, name, n);
  return n;
}

int whole_number(const Napi::Value& v, const char* name, int lowest, int highest) {
  const double n = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : NAN;
  if (!(n >= lowest && n <= highest) || n != static_cast<int>(n))
    fail(Code::InvalidArgument, "expected an integer from %d to %d for %s but received %g", lowest, highest, name, n);
  return static_cast<int>(n);
}

int whole_option(const Napi::Object& o, const char* name, int lowest, int highest) {
  return whole_number(o.Get(name), name, lowest, highest);
}

Napi::Float32Array floats_to_js(Napi::Env env, const std::vector<float>& v) {
  Napi::Float32Array array = Napi::Float32Array::New(env, v.size());
  for (size_t i = 0; i < v.size(); i++) array[i] = v[i];
  return array;
}

Napi::Object object_option(const Napi::Object& o, const char* name) {
  const Napi::Value v = o.Get(name);
  if (!v.IsObject()) fail(Code::InvalidArgument, "expected an object for %s", name);
  return v.As<Napi::Object>();
}

std::string choice_option(const Napi::Object& o, const char* name, std::initializer_list<const char*> choices) {
  const std::string chosen = text_option(o, name, *choices.begin());
  std::string list;
  for (const char* choice : choices) {
    if (chosen == choice) return chosen;
    list += (list.empty() ? "'" : ", '") + std::string(choice) + "'";
  }
  fail(Code::InvalidArgument, "expected one of %s for %s but received '%s'", list.c_str(), name, chosen.c_str());
}

uint64_t seed_option(const Napi::Object& o, const char* name) {
  const Napi::Value v = o.Get(name);
  bool lossless = v.IsBigInt();
  const uint64_t seed = lossless ? v.As<Napi::BigInt>().Uint64Value(&lossless) : 0;
  if (!lossless) fail(Code::InvalidArgument, "expected a bigint from 0 to 2^64 - 1 for %s", name);
  return seed;
}

Tensor pixels_from_js(const Napi::Value& value, std::vector<Napi::ObjectReference>* held) {
  if (!value.IsObject()) fail(Code::InvalidArgument, "expected { data, width, height, channels } for a picture");
  const Napi::Object o = value.As<Napi::Object>();
  const int width = whole_option(o, "width", 1, kMaxSide), height = whole_option(o, "height", 1, kMaxSide);
  const int channels = whole_option(o, "channels", 3, 4);
  const Napi::Value data = o.Get("data");
  if (!data.IsTypedArray()) fail(Code::InvalidArgument, "expected a Uint8Array of pixels");
  const Napi::TypedArray array = data.As<Napi::TypedArray>();
  const int64_t bytes = static_cast<int64_t>(width) * height * channels;
  if (static_cast<int64_t>(array.ByteLength()) != bytes)
    fail(Code::InvalidArgument, "%d x %d pixels of %d channels are %lld bytes, data has %zu", width, height, channels,
         static_cast<long long>(bytes), array.ByteLength());
  held->push_back(Napi::Persistent(data.As<Napi::Object>()));
  return Tensor::of(address_of(array), DType::U8, {height, width, channels});
}

Variant variant_from_js(const Napi::Object& job, bool* references) {
  const Napi::Object o = object_option(job, "variant");
  auto flag = [&](const char* name) { return o.Get(name).ToBoolean().Value(); };
  const std::string structure = choice_option(o, "structure", {"full", "one-route", "residual", "none"});
  *references = flag("references");
  Variant v;
  v.identity = flag("identity");
  v.residual = structure != "none";
  v.memory = structure == "full" || structure == "one-route";
  v.detail = structure == "full";
  return v;
}

}  // namespace iconface::addon
