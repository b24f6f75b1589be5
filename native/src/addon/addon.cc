// The addon's exports: what this machine has, sessions, links to files without a name, and faults for tests.
#include <napi.h>

#include <cerrno>
#include <cmath>
#include <limits>

#include "addon/convert.h"
#include "addon/limits.h"
#include "addon/session.h"
#include "base/link_file.h"
#include "binding/call.h"
#include "cpu/host/select.h"
#include "runtime/cuda_devices.h"
#include "runtime/machine.h"
#include "runtime/start_thread.h"

#ifdef ICONFACE_WITH_EMULATOR
namespace iconface::emulator {
void fail_call(int64_t n);           // emulator/runtime_api.h
int64_t fail_new(int64_t n);         // emulator/host_objects.cc
void run_planted(const char* name);  // emulator/planted.cu
}  // namespace iconface::emulator
#endif

namespace iconface::addon {

namespace {

Napi::Array texts(Napi::Env env, const std::vector<std::string>& list) {
  Napi::Array array = Napi::Array::New(env, list.size());
  for (uint32_t i = 0; i < list.size(); i++) array.Set(i, list[i]);
  return array;
}

/// null in a build without CUDA.
Napi::Value cuda(Napi::Env env) {
#ifdef ICONFACE_WITH_CUDA
  const CudaDevices found = cuda_devices();
  Napi::Array devices = Napi::Array::New(env, found.devices.size());
  for (uint32_t i = 0; i < found.devices.size(); i++) {
    Napi::Object d = Napi::Object::New(env);
    d.Set("name", found.devices[i].name);
    d.Set("capability", found.devices[i].capability);
    d.Set("totalBytes", static_cast<double>(found.devices[i].total));
    d.Set("freeBytes", static_cast<double>(found.devices[i].free));
    devices.Set(i, d);
  }
  const std::string version = std::to_string(found.driver / 1000) + "." + std::to_string(found.driver % 1000 / 10);
  Napi::Object o = Napi::Object::New(env);
  o.Set("driverVersion", found.driver > 0 ? Napi::Value(Napi::String::New(env, version)) : env.Null());
  o.Set("error", found.error.empty() ? env.Null() : Napi::Value(Napi::String::New(env, found.error)));
  o.Set("devices", devices);
  return o;
#else
  return env.Null();
#endif
}

Napi::Value info(const Napi::CallbackInfo& call) {
  Napi::Env env = call.Env();
  return guarded(env, [&] {
    const std::vector<std::string> isas = cpu::available_isas();
    const MemoryInfo m = memory_info();
    Napi::Object memory = Napi::Object::New(env), o = Napi::Object::New(env);
    memory.Set("totalBytes", static_cast<double>(m.total));
    memory.Set("availableBytes", static_cast<double>(m.available));
    memory.Set("limitBytes", static_cast<double>(m.limit));
    memory.Set("heldBytes", static_cast<double>(Pages::total()));
    memory.Set("deviceHeldBytes", static_cast<double>(Pages::device_total()));
    memory.Set("keptBytes", static_cast<double>(Pages::kept()));
    memory.Set("graphs", static_cast<double>(GraphCache::total()));
    o.Set("version", ICONFACE_VERSION);
    o.Set("isas", texts(env, isas));
    o.Set("isa",
          isas.empty() ? std::string() : isas.front());  // empty: the build is for other CPUs, which doctor reports
    o.Set("features", texts(env, cpu_features()));
    o.Set("threads", usable_cpus());
    o.Set("cuda", cuda(env));
#ifdef ICONFACE_WITH_EMULATOR
    o.Set("emulator", true);
#else
    o.Set("emulator", false);
#endif
    o.Set("memory", memory);
    o.Set("kinds", texts(env, binding::kinds()));
    return Napi::Value(o);
  });
}

/// (root) -> what memory_info and usable_cpus find under it.
Napi::Value limits(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    const std::string root = call[0].IsString() ? call[0].As<Napi::String>().Utf8Value() : "";
    const MemoryInfo m = memory_info(root);
    Napi::Object o = Napi::Object::New(call.Env());
    o.Set("totalBytes", static_cast<double>(m.total));
    o.Set("availableBytes", static_cast<double>(m.available));
    o.Set("limitBytes", static_cast<double>(m.limit));
    o.Set("why", why_no_more(m));
    o.Set("threads", usable_cpus(root));
    return Napi::Value(o);
  });
}

/// (descriptor, path) -> 0 or errno. It runs on the JavaScript thread: it is quick, and the caller must go on with the
/// name made, before anything else of its runs.
Napi::Value link_open_file(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    const double descriptor = call[0].IsNumber() ? call[0].As<Napi::Number>().DoubleValue() : -1;
    if (!(descriptor >= 0 && descriptor <= std::numeric_limits<int>::max() && std::floor(descriptor) == descriptor))
      fail(Code::InvalidArgument, "expected a file descriptor");
    if (!call[1].IsString()) fail(Code::InvalidArgument, "expected the path of a file");
    const std::string path = call[1].As<Napi::String>().Utf8Value();
    const bool whole = path.find('\0') == std::string::npos;  // the system would read the path up to a NUL
    const int error = whole ? link_file(static_cast<int>(descriptor), path.c_str()) : EINVAL;
    return Napi::Value(Napi::Number::New(call.Env(), error));
  });
}

Napi::Value can_start_threads(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    const double count = call[0].IsNumber() ? call[0].As<Napi::Number>().DoubleValue() : -1;
    if (!(count >= 0 && count <= kMaxThreads && std::floor(count) == count))
      fail(Code::InvalidArgument, "expected a number of threads");
    return Napi::Value(Napi::Boolean::New(call.Env(), iconface::can_start_threads(static_cast<int>(count))));
  });
}

Napi::Value fail_allocation(const Napi::CallbackInfo& call) {
  Pages::fail_allocation(call[0].ToNumber().Int64Value());
  return call.Env().Undefined();
}

#ifdef ICONFACE_WITH_EMULATOR
Napi::Value fail_cuda_call(const Napi::CallbackInfo& call) {
  emulator::fail_call(call[0].ToNumber().Int64Value());
  return call.Env().Undefined();
}

/// (n) -> calls that were still to come before the failure asked for last time
Napi::Value fail_new(const Napi::CallbackInfo& call) {
  return Napi::Number::New(call.Env(), static_cast<double>(emulator::fail_new(call[0].ToNumber().Int64Value())));
}

Napi::Value run_planted(const Napi::CallbackInfo& call) {
  return guarded(call.Env(), [&] {
    emulator::run_planted(call[0].ToString().Utf8Value().c_str());
    return call.Env().Undefined();
  });
}
#endif

Napi::Object define(Napi::Env env, Napi::Object exports) {
  exports.Set("info", Napi::Function::New(env, info));
  exports.Set("limits", Napi::Function::New(env, limits));
  exports.Set("linkOpenFile", Napi::Function::New(env, link_open_file));
  exports.Set("canStartThreads", Napi::Function::New(env, can_start_threads));
  exports.Set("failAllocation", Napi::Function::New(env, fail_allocation));
#ifdef ICONFACE_WITH_EMULATOR
  exports.Set("failCudaCall", Napi::Function::New(env, fail_cuda_call));
  exports.Set("failNew", Napi::Function::New(env, fail_new));
  exports.Set("runPlanted", Napi::Function::New(env, run_planted));
#endif
  exports.Set("Session", Session::define(env));
  return exports;
}

}  // namespace

}  // namespace iconface::addon

static Napi::Object define_addon(Napi::Env env, Napi::Object exports) { return iconface::addon::define(env, exports); }
NODE_API_MODULE(iconface, define_addon)
