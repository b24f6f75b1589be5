#include "op/flow_step.h"

#include "binding/call.h"

namespace iconface::binding {

void flow_step(Context& ctx, Call& call) {
  op::FlowStepArgs a;
  a.latents = call.inout(ctx, "latents");
  a.u_prompt = call.input("uPrompt");
  a.u_empty = call.optional("uEmpty");
  a.guidance = static_cast<float>(call.number("guidance", 1));
  a.step = static_cast<float>(call.number("step"));
  op::flow_step(ctx, a);
}

}  // namespace iconface::binding
