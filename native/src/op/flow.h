// The sampler's own arithmetic: one Euler step with guidance, and starting noise.              model-specification.md 6
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

enum class Generator {
  TorchCuda,  // Philox4x32-10 and Box-Muller, one element per thread, as torch.randn on a CUDA generator
  TorchCpu,   // MT19937 as torch.randn on the CPU: 16 and more elements are filled another way than fewer
};
/// Standard normal noise as PyTorch makes it from `seed`.
struct RandomNormalArgs {
  uint64_t seed = 0;
  Generator generator = Generator::TorchCuda;
  Tensor out;  // F32, contiguous
};
void random_normal(Context&, const RandomNormalArgs&);

/// [C, tokens] -> [tokens, C] (packing of (C, h, w) noise); F32, contiguous.
struct TransposeArgs {
  Tensor x, out;
};
void transpose(Context&, const TransposeArgs&);

}  // namespace iconface::op
