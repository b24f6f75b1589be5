#include "network/flow_sampler.h"

#include <cmath>

#include "op/convert.h"
#include "op/flow_step.h"
#include "op/transfer.h"
#include "runtime/graph_cache.h"
#include "runtime/meter.h"

namespace iconface {

namespace {
/// FLUX.2's shift of the schedule: linear in the tokens at 10 steps and at 200, and linear in the steps between and
/// beyond.
double flow_mu(int steps, double tokens) {
  const double m200 = 0.00016927 * tokens + 0.45666666;
  if (tokens > 4300) return m200;
  const double m10 = 8.73809524e-05 * tokens + 1.89833333;
  const double a = (m200 - m10) / 190;
  return a * steps + m200 - 200 * a;
}

/// lengths[i] = sigma_(i+1) - sigma_i.
void upload_lengths(Context& ctx, const std::vector<double>& sigmas, const Tensor& lengths) {
  std::vector<float> list;
  for (size_t i = 0; i + 1 < sigmas.size(); i++) list.push_back(static_cast<float>(sigmas[i + 1] - sigmas[i]));
  op::upload_into(ctx, Tensor::of(list.data(), DType::F32, lengths.shape, lengths.rank), lengths);
}
}  // namespace

std::vector<double> flow_schedule(int steps, int64_t tokens) {
  const double shift = std::exp(flow_mu(steps, static_cast<double>(tokens)));
  std::vector<double> sigmas;
  for (int i = 0; i < steps; i++) {
    const double s = 1 - static_cast<double>(i) / steps;
    sigmas.push_back(shift / (shift + 1 / s - 1));
  }
  sigmas.push_back(0);
  return sigmas;
}

void sample(Context& ctx, const Flux2Transformer& transformer, const Conditioning& c, const SamplerOptions& options,
            const Tensor& latents) {
  const int steps = static_cast<int>(options.sigmas.size()) - 1;
  Workspace::Frame frame(ctx.workspace);
  const Tensor modulation = ctx.workspace.tensor(DType::F32, {steps, transformer.step_size()}),
               lengths = ctx.workspace.tensor(DType::F32, {steps});
  upload_lengths(ctx, options.sigmas, lengths);
  run_as_graph(ctx, "modulation", [&] {
    for (int i = 0; i < steps; i++)
      transformer.modulation(ctx, options.sigmas[i], options.identity, modulation.select(0, i));
  });
  // Every step reads its modulation and its length from the same tensors, so that one captured graph serves all steps.
  const Tensor current = ctx.workspace.tensor(DType::F32, {transformer.step_size()}),
               length = ctx.workspace.tensor(DType::F32, {1});
  const Tensor u = ctx.workspace.tensor(DType::F32, {c.branches, latents.shape[0], latents.shape[1]});
  const double before = ctx.meter != nullptr ? ctx.meter->stage().planned : 0;
  for (int i = 0; i < steps; i++) {
    op::convert(ctx, {.x = modulation.select(0, i), .out = current});
    op::convert(ctx, {.x = lengths.slice(0, i, i + 1), .out = length});
    run_as_graph(ctx, "step", [&] {
      transformer.forward(ctx, c, transformer.view(current), latents, u);
      ctx.note("prediction_" + std::to_string(i), u);
      op::flow_step(ctx, {.latents = latents,
                          .u_prompt = u.select(0, c.branches - 1),
                          .u_empty = c.branches > 1 ? u.select(0, 0) : Tensor{},
                          .guidance = static_cast<float>(options.guidance),
                          .step_at = length});
    });
    ctx.note("latents_step_" + std::to_string(i + 1), latents);
    if (options.on_step) options.on_step(i + 1);
    if (!ctx.planning()) continue;
    // All steps take the same memory and do the same work: planning one is enough.
    if (ctx.meter != nullptr) ctx.meter->plan((steps - 1) * (ctx.meter->stage().planned - before));
    break;
  }
}

}  // namespace iconface
