#include "op/flow.h"

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

void random_normal(Context& ctx, const RandomNormalArgs& a) {
  check(a.out.defined() && a.out.dtype == DType::F32 && a.out.contiguous(), "random_normal",
        "out must be contiguous F32, not %s", a.out.defined() ? a.out.describe().c_str() : "absent");
  ctx.backend.random_normal(ctx, a);
}

void transpose(Context& ctx, const TransposeArgs& a) {
  const char* op = "transpose";
  check_tensor(op, "x", a.x, kF32, {-1, -1});
  check_tensor(op, "out", a.out, kF32, {a.x.shape[1], a.x.shape[0]});
  check(a.x.contiguous() && a.out.contiguous(), op, "x and out must be contiguous");
  check(a.x.data != a.out.data, op, "out must not be x");
  ctx.backend.transpose(ctx, a);
}

}  // namespace iconface::op
