// TraceOutputs: the intermediate tensors of a traced job, copied into a Call's results as they are computed.
#pragma once
#include <napi.h>

#include <string>
#include <utility>

#include "binding/call.h"

namespace iconface::addon {

class TraceOutputs : public Trace {
 public:
  /// `prefix` stands before every tensor's name.
  TraceOutputs(binding::Call* call, std::string prefix) : call_(call), prefix_(std::move(prefix)) {}
  void record(Context& ctx, const std::string& name, const Tensor& value) override;

 private:
  binding::Call* call_;
  std::string prefix_;
};

/// { name: tensor }
Napi::Object outputs_to_js(Napi::Env env, const binding::Call& call);

}  // namespace iconface::addon
