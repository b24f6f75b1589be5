// Conversions between JavaScript's values and the core's. Each checks its argument and names it in the error.
#pragma once
#include <napi.h>

#include <string>

#include "base/error.h"
#include "base/tensor.h"
#include "binding/call.h"

namespace iconface::addon {

/// The JavaScript error for a failure of the core: an Error with `code`. Takes no memory of the core's, so that it
/// can say that there is none.
napi_value error_to_js(napi_env env, Code code, const char* message);
Napi::Error to_js(Napi::Env env, Code code, const char* message);

/// Runs `body`. What the core throws there is thrown as a JavaScript error.
template <class Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Error& e) {
    throw to_js(env, e.code, e.what());
  } catch (const std::bad_alloc&) {
    throw to_js(env, Code::OutOfMemory, "out of memory");
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& e) {
    throw to_js(env, Code::Internal, e.what());
  }
}

/// Address of a typed array's first element; null when its buffer is detached.
void* address_of(const Napi::TypedArray& array);

/// { dtype: 'f32', shape: [..], data: TypedArray } -> a tensor over a copy of the data held by `memory`.
Tensor tensor_from_js(const std::string& name, Napi::Value value, Pages* memory);
Napi::Object tensor_to_js(Napi::Env env, const Tensor& t);

std::string dtype_to_js(DType t);  // lower case
bool dtype_from_js(const std::string& name, DType* t);

std::vector<double> numbers_from_js(Napi::Value value, const std::string& name);

}  // namespace iconface::addon
