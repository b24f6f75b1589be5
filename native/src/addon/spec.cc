#include "addon/spec.h"

#include "addon/convert.h"

namespace iconface::addon {

namespace {

template <class Visit>
void each(const Napi::Value& list, const char* name, Visit&& visit) {
  if (list.IsUndefined()) return;
  if (!list.IsArray()) fail(Code::InvalidArgument, "expected a list for %s", name);
  const Napi::Array array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) visit(array.Get(i));
}

template <class Visit>
void each_entry(const Napi::Value& object, const char* name, Visit&& visit) {
  if (object.IsUndefined()) return;
  if (!object.IsObject()) fail(Code::InvalidArgument, "expected an object for %s", name);
  for (const auto& entry : object.As<Napi::Object>())
    visit(entry.first.ToString().Utf8Value(), Napi::Value(entry.second));
}

Napi::Object object(const Napi::Value& v, const char* name) {
  if (!v.IsObject()) fail(Code::InvalidArgument, "expected an object for %s", name);
  return v.As<Napi::Object>();
}

std::string text(const Napi::Object& o, const char* name) {
  const Napi::Value v = o.Get(name);
  if (!v.IsString()) fail(Code::InvalidArgument, "expected a string for %s", name);
  return v.As<Napi::String>().Utf8Value();
}

int64_t whole(const Napi::Object& o, const char* name) {
  const Napi::Value v = o.Get(name);
  const double n = v.IsNumber() ? v.As<Napi::Number>().DoubleValue() : -1;
  if (!(n >= 0 && n < 0x1p53) || n != static_cast<double>(static_cast<int64_t>(n)))
    fail(Code::InvalidArgument, "expected a whole number for %s", name);
  return static_cast<int64_t>(n);
}

DType dtype(const Napi::Object& o, const std::string& name) {
  DType t;
  if (!dtype_from_js(text(o, "dtype"), &t))
    fail(Code::InvalidCheckpoint, "tensor %s has dtype %s, which cannot be computed with", name.c_str(),
         text(o, "dtype").c_str());
  return t;
}

std::vector<int64_t> shape(const Napi::Object& o) {
  std::vector<int64_t> sizes;
  for (double n : numbers_from_js(o.Get("shape"), "shape")) {
    if (!(n >= 0 && n < 0x1p53) || n != static_cast<double>(static_cast<int64_t>(n)))
      fail(Code::InvalidArgument, "%g is no size", n);
    sizes.push_back(static_cast<int64_t>(n));
  }
  return sizes;
}

CheckpointSpec::Range range(const Napi::Object& o) {
  return {static_cast<size_t>(whole(o, "file")), whole(o, "offset"), whole(o, "bytes")};
}

}  // namespace

CheckpointSpec spec_from_js(const Napi::Object& o) {
  CheckpointSpec spec;
  each(o.Get("files"), "files", [&](const Napi::Value& v) {
    const Napi::Object f = object(v, "a file");
    spec.files.push_back({text(f, "path"), whole(f, "size")});
  });
  each_entry(o.Get("tensors"), "tensors", [&](const std::string& name, const Napi::Value& v) {
    const Napi::Object t = object(v, name.c_str());
    spec.tensors[name] = {dtype(t, name), shape(t), {range(t)}};
  });
  each(o.Get("joins"), "joins", [&](const Napi::Value& v) {
    const Napi::Object t = object(v, "a join");
    const std::string name = text(t, "name");
    CheckpointSpec::Entry entry{dtype(t, name), shape(t), {}};
    each(t.Get("parts"), "parts", [&](const Napi::Value& p) { entry.parts.push_back(range(object(p, "a part"))); });
    spec.tensors[name] = entry;
  });
  each(o.Get("loras"), "loras", [&](const Napi::Value& v) {
    const Napi::Object l = object(v, "a LoRA");
    const Napi::Value factor = l.Get("factor");
    if (!factor.IsNumber()) fail(Code::InvalidArgument, "expected a number for factor");
    spec.loras.push_back({text(l, "module"), text(l, "a"), text(l, "b"), factor.As<Napi::Number>().DoubleValue(),
                          l.Has("row") ? whole(l, "row") : 0});
  });
  each_entry(o.Get("numbers"), "numbers",
             [&](const std::string& name, const Napi::Value& v) { spec.numbers[name] = numbers_from_js(v, name); });
  each_entry(o.Get("texts"), "texts", [&](const std::string& name, const Napi::Value& v) {
    if (!v.IsString()) fail(Code::InvalidArgument, "expected a string for %s", name.c_str());
    spec.texts[name] = v.As<Napi::String>().Utf8Value();
  });
  return spec;
}

}  // namespace iconface::addon
