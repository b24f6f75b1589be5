// The flow sampler: the schedule, and Euler steps with guidance from noise to latents (Eq. 1). model-specification.md 6
#pragma once
#include <functional>
#include <vector>

#include "network/flux2_transformer.h"

namespace iconface {

/// sigma_0 = 1 ... sigma_steps = 0: linspace(1, 0, steps + 1) warped by e^mu / (e^mu + 1/s - 1) with FLUX.2's mu for
/// `tokens` scene tokens. In double.
std::vector<double> flow_schedule(int steps, int64_t tokens);

struct SamplerOptions {
  std::vector<double> sigmas;  // falling, the last one 0
  double guidance = 4;         // 1: only the prompt branch is computed
  IdentityDeltas identity;
  std::function<void(int step)> on_step;  // after every step, from 1
};

/// Integrates latents [scene, C] F32 in place from sigma = 1 to 0. The modulation of all steps is made first.
void sample(Context&, const Flux2Transformer&, const Conditioning&, const SamplerOptions&, const Tensor& latents);

}  // namespace iconface
