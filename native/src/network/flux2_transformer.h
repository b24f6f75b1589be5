// FLUX.2 [klein] flow transformer with the IConFace pathways.                            model-specification.md 3, 4, 5
#pragma once
#include <vector>

#include "base/error.h"
#include "network/precision.h"
#include "network/structure_pathway.h"
#include "network/weights.h"

namespace iconface {

struct Flux2Config {
  int64_t in_channels = 0, hidden = 0, heads = 0, head_dim = 0, context = 0;
  std::vector<int64_t> axes_dim;  // RoPE slices of a head, in the order t, h, w, l
  double theta = 2000;

  /// Sizes from the tensors' shapes; RoPE axes and theta from the numbers `transformer.ropeAxes`, `.ropeTheta`.
  static Flux2Config read(Weights&, const CheckpointSpec&);
  /// RoPE axes, and the heads that they make of `hidden`. Throws `code` for axes that do not fit.
  void set_axes(const std::vector<double>& axes, Code code);
};

/// The learned scales of q and k RMSNorm.
struct QkNorm {
  Tensor query, key;  // [d]
};

struct DoubleBlock {
  struct Stream {
    Matrix qkv, proj, mlp_up, mlp_down;
    QkNorm norm;
  };
  Stream img, txt;
  static DoubleBlock read(Context&, Weights&, const std::string& prefix, const Flux2Config&, Precision);
};

struct SingleBlock {
  Matrix query, key_value;  // rows of linear1
  Matrix mlp_up;            // [2M, D], the other rows of linear1
  Matrix linear2;           // [D, D + M]
  QkNorm norm;
  static SingleBlock read(Context&, Weights&, const std::string& prefix, const Flux2Config&, Precision);
};

/// Shift, scale and gate vectors of one step, [D] F32 each.
struct Modulation {
  Tensor shift, scale, gate;
};
struct StepModulation {
  Modulation img_attn, img_mlp, txt_attn, txt_mlp;  // double blocks
  Modulation single_img, single_txt;                // single blocks: image rows also carry the identity
  Tensor final_shift, final_scale;
};

/// What the anchor adds to the image stream's modulation; undefined without identity. model-specification.md 4, Eq. 5
struct IdentityDeltas {
  Tensor double_blocks;  // [6D]
  Tensor single_blocks;  // [3D]
};

/// Everything of a restore that does not change from step to step.
struct Conditioning {
  int64_t branches = 1;                         // 2 under guidance: empty prompt, prompt
  int64_t text = 0, scene = 0, condition = 0;   // tokens; condition = degraded + references
  Tensor text_tokens;                           // [branches, text, D] F32: txt_in of the embeddings
  Tensor condition_tokens;                      // [condition, D] F32: img_in of degraded and reference latents
  Tensor scene_residual;                        // [scene, D] F32, or undefined
  Tensor cos, sin;                              // [text + scene + condition, d/2]
  const StructurePathway* structure = nullptr;  // with its memory: the key/value side of every block, or empty
  StructureMemory memory;
  bool predict_all = false;  // all image tokens instead of the scene's (tests): no trimming of the last block
  int64_t image() const { return scene + condition; }
  int64_t tokens() const { return text + image(); }
};

class Flux2Transformer {
 public:
  Flux2Transformer(Context&, Weights&, const CheckpointSpec&, Precision);

  const Flux2Config& config() const { return config_; }
  int64_t blocks() const { return static_cast<int64_t>(double_.size() + single_.size()); }

  /// img_in: latents [tokens, C] F32 -> [tokens, D] F32.
  void embed_image(Context&, const Tensor& latents, const Tensor& out) const;
  /// txt_in: [tokens, context] -> [tokens, D] F32.
  void embed_text(Context&, const Tensor& text, const Tensor& out) const;
  /// RoPE tables for the joint sequence, text first; ids [tokens, axes].
  void rope(Context&, const Tensor& ids, const Tensor& cos, const Tensor& sin) const;

  /// Bytes of one step's vectors: StepModulation views `storage`, [step_size()] F32.
  int64_t step_size() const { return 20 * config_.hidden; }
  StepModulation view(const Tensor& storage) const;
  StepModulation modulation(Context&, double timestep, const IdentityDeltas&, const Tensor& storage) const;

  /// u for the scene tokens (or all image tokens): latents [scene, C] F32 -> prediction [branches, scene, C] F32.
  void forward(Context&, const Conditioning&, const StepModulation&, const Tensor& latents,
               const Tensor& prediction) const;

  /// One block alone; public for the tests of single blocks. `x` is [branches, text + image, D] F32, in place.
  void double_block(Context&, const DoubleBlock&, const Conditioning&, const StepModulation&, const Tensor& x,
                    bool shared_image) const;
  void single_block(Context&, const SingleBlock&, const Conditioning&, const StepModulation&, const Tensor& x,
                    int64_t first, int64_t end) const;

  Flux2Transformer(const Flux2Config& config, DType compute) : config_(config), compute_(compute) {}  // blocks alone

 private:
  Flux2Config config_;
  DType compute_;
  Tensor img_in_, txt_in_, time_in_, time_out_;
  Tensor modulation_img_, modulation_txt_, modulation_single_, modulation_final_, linear_final_;
  std::vector<DoubleBlock> double_;
  std::vector<SingleBlock> single_;
};

}  // namespace iconface
