#include "addon/trace.h"

#include "addon/convert.h"
#include "op/transfer.h"

namespace iconface::addon {

void TraceOutputs::record(Context& ctx, const std::string& name, const Tensor& value) {
  op::download(ctx, value, call_->host_output_like((prefix_ + name).c_str(), value));
}

Napi::Object outputs_to_js(Napi::Env env, const binding::Call& call) {
  Napi::Object results = Napi::Object::New(env);
  for (const binding::Call::Output& o : call.outputs) results.Set(o.name, tensor_to_js(env, o.tensor));
  return results;
}

}  // namespace iconface::addon
