#include "network/conditioning.h"

namespace iconface {

Conditioning make_conditioning(Context& ctx, const Flux2Transformer& transformer, const StructurePathway& structure,
                               const ConditioningInputs& in) {
  const Flux2Config& f = transformer.config();
  Conditioning c;
  c.branches = static_cast<int64_t>(in.text.size());
  c.text = in.text[0].shape[0];
  c.scene = in.scene.tokens();
  c.condition = in.condition_latents.shape[0];
  c.structure = &structure;

  c.text_tokens = ctx.workspace.tensor(DType::F32, {c.branches, c.text, f.hidden});
  for (int64_t b = 0; b < c.branches; b++)
    transformer.embed_text(ctx, in.text[static_cast<size_t>(b)], c.text_tokens.select(0, b));
  ctx.note("txt_in", c.text_tokens);
  c.condition_tokens = ctx.workspace.tensor(DType::F32, {c.condition, f.hidden});
  transformer.embed_image(ctx, in.condition_latents, c.condition_tokens);
  c.cos = ctx.workspace.tensor(DType::F32, {c.tokens(), f.head_dim / 2});
  c.sin = ctx.workspace.tensor(DType::F32, {c.tokens(), f.head_dim / 2});
  transformer.rope(ctx, in.ids, c.cos, c.sin);

  const Tensor x_deg = c.condition_tokens.slice(0, 0, in.degraded.tokens());
  if (in.variant.residual && structure.has_residual()) {
    c.scene_residual = ctx.workspace.tensor(DType::F32, {c.scene, f.hidden});
    structure.residual(ctx, x_deg, in.degraded, in.scene, c.scene_residual);
  }
  if (in.variant.memory && structure.has_memory()) {
    const Tensor memory = ctx.workspace.tensor(DType::F32, {structure.memory_tokens(in.variant.detail), f.hidden});
    structure.memory(ctx, x_deg, in.degraded, in.variant.detail, memory);
    c.memory = structure.blocks(ctx, memory);
  }
  return c;
}

}  // namespace iconface
