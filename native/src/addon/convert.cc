#include "addon/convert.h"

#include <cctype>
#include <cstring>

namespace iconface::addon {

napi_value error_to_js(napi_env env, Code code, const char* message) {
  napi_value name = nullptr, text = nullptr, error = nullptr;
  napi_create_string_utf8(env, code_name(code), NAPI_AUTO_LENGTH, &name);
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text);
  napi_create_error(env, name, text, &error);  // sets `code`
  return error;
}

Napi::Error to_js(Napi::Env env, Code code, const char* message) {
  return Napi::Error(env, error_to_js(env, code, message));
}

std::string dtype_to_js(DType t) {
  std::string name = dtype_name(t);
  for (char& c : name) c = static_cast<char>(tolower(c));
  return name;
}

bool dtype_from_js(const std::string& name, DType* t) {
  std::string upper = name;
  for (char& c : upper) c = static_cast<char>(toupper(c));
  return parse_dtype(upper.c_str(), t);
}

std::vector<double> numbers_from_js(Napi::Value value, const std::string& name) {
  std::vector<double> list;
  if (value.IsNumber()) {
    list.push_back(value.As<Napi::Number>().DoubleValue());
  } else if (value.IsBoolean()) {
    list.push_back(value.As<Napi::Boolean>().Value());
  } else if (value.IsArray()) {
    const Napi::Array array = value.As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); i++) {
      const Napi::Value item = array.Get(i);
      if (!item.IsNumber()) fail(Code::InvalidArgument, "expected numbers in '%s'", name.c_str());
      list.push_back(item.As<Napi::Number>().DoubleValue());
    }
  } else {
    fail(Code::InvalidArgument, "expected a number or a list of numbers for '%s'", name.c_str());
  }
  return list;
}

void* address_of(const Napi::TypedArray& array) {
  void* address = nullptr;
  napi_get_typedarray_info(array.Env(), array, nullptr, nullptr, &address, nullptr, nullptr);
  return address;
}

Tensor tensor_from_js(const std::string& name, Napi::Value value, Pages* memory) {
  if (!value.IsObject()) fail(Code::InvalidArgument, "expected { dtype, shape, data } for tensor '%s'", name.c_str());
  const Napi::Object object = value.As<Napi::Object>();
  const Napi::Value dtype_value = object.Get("dtype"), shape_value = object.Get("shape"), data = object.Get("data");

  DType dtype;
  const std::string dtype_text = dtype_value.IsString() ? dtype_value.As<Napi::String>().Utf8Value() : "nothing";
  if (!dtype_from_js(dtype_text, &dtype))
    fail(Code::InvalidArgument, "expected a dtype such as 'f32' for tensor '%s' but received '%s'", name.c_str(),
         dtype_text.c_str());

  const std::vector<double> sizes = numbers_from_js(shape_value, name + ".shape");
  if (sizes.empty() || sizes.size() > Tensor::kMaxRank)
    fail(Code::InvalidArgument, "tensor '%s' has %zu axes, 1 to %d are possible", name.c_str(), sizes.size(),
         Tensor::kMaxRank);
  int64_t shape[Tensor::kMaxRank] = {};
  double elements = 1;
  for (size_t i = 0; i < sizes.size(); i++) {
    if (!(sizes[i] >= 0 && sizes[i] <= 0x7fffffff) || sizes[i] != static_cast<double>(static_cast<int64_t>(sizes[i])))
      fail(Code::InvalidArgument, "tensor '%s': %g is no size", name.c_str(), sizes[i]);
    shape[i] = static_cast<int64_t>(sizes[i]);
    elements *= sizes[i];
  }
  const double bytes = elements * static_cast<double>(dtype_bytes(dtype));

  if (!data.IsTypedArray()) fail(Code::InvalidArgument, "tensor '%s': data is not a typed array", name.c_str());
  const Napi::TypedArray array = data.As<Napi::TypedArray>();
  if (static_cast<double>(array.ByteLength()) != bytes)
    fail(Code::InvalidArgument, "tensor '%s': %s of %g elements needs %g bytes, data has %zu (a detached buffer has 0)",
         name.c_str(), dtype_text.c_str(), elements, bytes, array.ByteLength());

  const void* source = address_of(array);
  *memory = Pages(bytes > 0 ? static_cast<int64_t>(bytes) : 1);
  if (bytes > 0) memcpy(memory->data(), source, static_cast<size_t>(bytes));
  return Tensor::of(memory->data(), dtype, shape, static_cast<int>(sizes.size()));
}

namespace {
/// Calls JavaScript's own constructor, which throws where memory is lacking. Node-API's function ends the process
/// there.
Napi::ArrayBuffer new_buffer(Napi::Env env, int64_t bytes) {
  try {
    const Napi::Function constructor = env.Global().Get("ArrayBuffer").As<Napi::Function>();
    return constructor.New({Napi::Number::New(env, static_cast<double>(bytes))}).As<Napi::ArrayBuffer>();
  } catch (const Napi::Error& e) {
    fail(Code::OutOfMemory, "could not allocate %.1f MiB for a result: %s", static_cast<double>(bytes) / (1 << 20),
         e.Message().c_str());
  }
}
}  // namespace

Napi::Object tensor_to_js(Napi::Env env, const Tensor& t) {
  const size_t n = static_cast<size_t>(t.elements());
  Napi::ArrayBuffer buffer = new_buffer(env, t.bytes());
  if (t.bytes() > 0) memcpy(buffer.Data(), t.data, static_cast<size_t>(t.bytes()));
  Napi::Value data;
  switch (t.dtype) {
    case DType::F32:
      data = Napi::Float32Array::New(env, n, buffer, 0);
      break;
    case DType::F64:
      data = Napi::Float64Array::New(env, n, buffer, 0);
      break;
    case DType::I64:
      data = Napi::BigInt64Array::New(env, n, buffer, 0);
      break;
    case DType::I32:
      data = Napi::Int32Array::New(env, n, buffer, 0);
      break;
    case DType::BF16:
    case DType::F16:
      data = Napi::Uint16Array::New(env, n, buffer, 0);
      break;
    case DType::I16:
      data = Napi::Int16Array::New(env, n, buffer, 0);
      break;
    default:
      data = Napi::Uint8Array::New(env, n, buffer, 0);
      break;
  }
  Napi::Array shape = Napi::Array::New(env, t.rank);
  for (int i = 0; i < t.rank; i++) shape.Set(i, Napi::Number::New(env, static_cast<double>(t.shape[i])));
  Napi::Object object = Napi::Object::New(env);
  object.Set("dtype", Napi::String::New(env, dtype_to_js(t.dtype)));
  object.Set("shape", shape);
  object.Set("data", data);
  return object;
}

}  // namespace iconface::addon
