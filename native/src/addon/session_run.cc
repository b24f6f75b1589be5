// Session::run: one operation or network by itself, on tensors from JavaScript.
#include <deque>

#include "addon/convert.h"
#include "addon/session.h"
#include "addon/trace.h"
#include "binding/call.h"
#include "binding/repeat.h"

namespace iconface::addon {

namespace {

struct RunState {
  binding::Call call;
  std::deque<Pages> memory;  // of the inputs, in the process
  binding::Times times;
};

void read_inputs(Napi::Object tensors, RunState* state) {
  for (const auto& entry : tensors) {
    const std::string name = entry.first.ToString().Utf8Value();
    const Napi::Value value = entry.second;
    if (value.IsUndefined()) continue;
    state->memory.emplace_back();
    state->call.inputs[name] = tensor_from_js(name, value, &state->memory.back());
  }
}

void read_parameters(Napi::Object params, binding::Call* call) {
  for (const auto& entry : params) {
    const std::string name = entry.first.ToString().Utf8Value();
    const Napi::Value value = entry.second;
    if (value.IsUndefined()) continue;
    if (value.IsString())
      call->texts[name] = value.As<Napi::String>().Utf8Value();
    else
      call->number_lists[name] = numbers_from_js(value, name);
  }
}

/// Brings the inputs to the call's device. The result holds their memory there.
std::deque<Pages> upload_inputs(binding::Call* call) {
  std::deque<Pages> memory;
  if (call->device == nullptr) return memory;
  for (auto& [name, tensor] : call->inputs) {
    memory.emplace_back(std::max<int64_t>(tensor.bytes(), 1), call->device);
    call->device->upload(memory.back().data(), tensor.data, tensor.bytes());
    tensor.data = memory.back().data();
  }
  return memory;
}

/// { name: tensor }, with the times of all repetitions as `seconds` and `cpuSeconds`.
Napi::Value results_to_js(Napi::Env env, RunState& state) {
  Napi::Object results = outputs_to_js(env, state.call);
  const auto list = [&](std::vector<double>& v) {
    return tensor_to_js(env, Tensor::of(v.data(), DType::F64, {static_cast<int64_t>(v.size())}));
  };
  results.Set("seconds", list(state.times.seconds));
  results.Set("cpuSeconds", list(state.times.cpu_seconds));
  return results;
}

}  // namespace

Napi::Value Session::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    if (info.Length() < 3 || !info[0].IsString() || !info[1].IsObject() || !info[2].IsObject())
      fail(Code::InvalidArgument, "expected (kind, tensors, params)");
    const std::string kind = info[0].As<Napi::String>().Utf8Value();
    const binding::Run body = binding::find(kind);
    if (body == nullptr) fail(Code::InvalidArgument, "there is no operation or network '%s'", kind.c_str());

    auto state = std::make_shared<RunState>();
    read_inputs(info[1].As<Napi::Object>(), state.get());
    read_parameters(info[2].As<Napi::Object>(), &state->call);
    const auto work = [this, state, body](Jobs::Task& job) -> Jobs::Answer {
      binding::Call& call = state->call;
      call.model = model_.get();
      call.device = device();
      const std::deque<Pages> on_device = upload_inputs(&call);  // freed on this thread
      TraceOutputs trace(&call, "trace.");
      if (model_) model_->weights.check_unchanged();
      with_memory(job, [&](Context& ctx) {
        if (call.flag("trace")) ctx.trace = &trace;
        if (ctx.planning()) {
          body(ctx, call);
          binding::plan_repetitions(call);
          call.refuse_unused();
        } else {
          state->times = binding::repeat(ctx, call, body);
        }
      });
      call.fetch_outputs();
      return [state](Napi::Env env) { return results_to_js(env, *state); };
    };
    return jobs_.submit(info.Env(), work, {});
  });
}

}  // namespace iconface::addon
