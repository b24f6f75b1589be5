#include "op/flow_step.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void flow_step(Context& ctx, const FlowStepArgs& a) {
  const char* op = "flow_step";
  check_tensor(op, "latents", a.latents, kF32, {-1, -1});
  check(a.latents.last() >= 1, op, "latents must have channels, not %s", a.latents.describe().c_str());
  check_tensor(op, "uPrompt", a.u_prompt, kF32, {a.latents.shape[0], a.latents.shape[1]});
  if (a.u_empty.defined()) check_tensor(op, "uEmpty", a.u_empty, kF32, {a.latents.shape[0], a.latents.shape[1]});
  if (a.step_at.defined()) check_tensor(op, "stepAt", a.step_at, kF32, {1});
  check(__builtin_isfinite(a.guidance) && __builtin_isfinite(a.step), op,
        "guidance and step must be finite, not %g, %g", static_cast<double>(a.guidance), static_cast<double>(a.step));
  ctx.backend.flow_step(ctx, a);
}

}  // namespace iconface::op
