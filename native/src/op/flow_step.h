// flow_step: one step of Euler's method, with guidance.                                        model-specification.md 6
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// u = u_empty + guidance * (u_prompt - u_empty); latents += step * u, step = sigma_next - sigma. All f32.
struct FlowStepArgs {
  Tensor latents;       // [tokens, C] F32, in place
  Tensor u_prompt;      // [tokens, C] F32
  Tensor u_empty = {};  // [tokens, C] F32, optional: absent means guidance 1
  float guidance = 1;
  float step = 0;
  Tensor step_at = {};  // [1] F32, optional: where the step lies, instead of `step`
};
void flow_step(Context&, const FlowStepArgs&);

}  // namespace iconface::op
