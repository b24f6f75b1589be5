// make_conditioning: what all denoising steps of a restore share, computed once. Text and condition tokens, RoPE
// tables, the scene residual (Eq. 6), the degraded memory (Eq. 7) with every block's keys and values.
// model-specification.md 3, 5
#pragma once
#include <vector>

#include "network/flux2_transformer.h"

namespace iconface {

/// Which parts of the paper's Table 3 take part; a part the checkpoint lacks is off whatever is asked.
struct Variant {
  bool identity = true;  // the anchor modulates image tokens
  bool residual = true;  // Eq. 6
  bool memory = true;    // Eq. 7; off with no block cross-attention
  bool detail = true;    // the second route of the memory
};

struct ConditioningInputs {
  std::vector<Tensor> text;  // one per branch, [text, context]: (empty prompt, prompt), or the prompt alone
  Tensor condition_latents;  // [condition, C] F32: degraded, then references
  Tensor ids;                // [text + scene + condition, axes]
  TokenGrid scene, degraded;
  Variant variant;
};

/// Takes its tensors from the workspace.
Conditioning make_conditioning(Context&, const Flux2Transformer&, const StructurePathway&, const ConditioningInputs&);

}  // namespace iconface
