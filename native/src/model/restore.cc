#include "model/restore.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>

#include "base/error.h"
#include "network/face_template.h"
#include "op/all_finite.h"
#include "op/convert.h"
#include "op/face_crop.h"
#include "op/identity_anchor.h"
#include "op/image_to_tensor.h"
#include "op/random_normal.h"
#include "op/tensor_to_image.h"
#include "op/transfer.h"
#include "op/transpose.h"
#include "runtime/graph_cache.h"
#include "runtime/meter.h"

namespace iconface {

namespace {

/// The stages of a restore: reports them and takes their times.
class Stages {
 public:
  Stages(const RestoreRequest& request, RestoreResult* result) : request_(request), result_(result) {}
  /// `steps`: how many steps the stage reports; a stage of one step reports only its beginning.
  void begin(Context& ctx, const char* stage, int steps = 1) {
    ctx.check_cancelled();
    if (ctx.meter != nullptr) ctx.meter->begin(stage);
    if (ctx.planning()) return;
    end();
    stage_ = stage;
    steps_ = steps;
    started_ = std::chrono::steady_clock::now();
    step(ctx, 0);
  }
  void step(Context& ctx, int done) {
    if (ctx.planning() || !request_.progress) return;
    request_.progress(stage_, done, steps_);
    if (ctx.meter != nullptr) ctx.meter->reported();
  }
  void end() {
    if (stage_ == nullptr) return;
    const std::chrono::duration<double, std::milli> passed = std::chrono::steady_clock::now() - started_;
    result_->milliseconds.emplace_back(stage_, passed.count());
    stage_ = nullptr;
  }

 private:
  const RestoreRequest& request_;
  RestoreResult* result_;
  const char* stage_ = nullptr;
  int steps_ = 1;
  std::chrono::steady_clock::time_point started_;
};

/// All that a restore's work on a device depends on beside its data (pixels, prompt, noise). Whether it has an anchor
/// is known only later.
std::string settings_of(const RestoreRequest& r) {
  char text[160];
  snprintf(text, sizeof text, "%zu pictures of %lld px, %d steps, guidance %a, parts %d%d%d%d, %s prompt",
           r.pictures.size(), static_cast<long long>(r.size), r.steps, r.guidance, r.variant.identity,
           r.variant.residual, r.variant.memory, r.variant.detail,
           r.prompt.defined() ? dtype_name(r.prompt.dtype) : "own");
  return text;
}

/// Raw embeddings [n, 512] of n aligned crops [size, size, 3] U8. All pass through the same tensors, so that one
/// captured graph serves them all.
void embed_crops(Context& ctx, const Model& model, const std::vector<Tensor>& crops, const Tensor& embeddings) {
  const AdaFace& network = model.need(model.face, "face encoder (AdaFace)");
  const auto mode = model.spec.texts.find("identity.crop");
  Workspace::Frame frame(ctx.workspace);
  const Tensor face = ctx.workspace.tensor(DType::F32, {AdaFace::kSide, AdaFace::kSide, 3}),
               embedding = ctx.workspace.tensor(DType::F32, {AdaFace::kEmbedding});
  for (size_t i = 0; i < crops.size(); i++) {
    op::FaceCropArgs args{.pixels = crops[i], .matrix = {}, .out = face};
    face_crop_matrix(mode == model.spec.texts.end() ? "template" : mode->second, crops[i].shape[0], args.matrix);
    op::face_crop(ctx, args);
    run_as_graph(ctx, "embed", [&] { network.embed(ctx, face, embedding); });
    op::convert(ctx, {.x = embedding, .out = embeddings.select(0, static_cast<int64_t>(i))});
  }
  if (!op::all_finite(ctx, embeddings)) fail(Code::Numerical, "the face encoder gave a value that is not finite");
}

std::vector<float> values(Context& ctx, const Tensor& t) {
  if (ctx.planning()) return std::vector<float>(static_cast<size_t>(t.elements()), 1.0f);
  std::vector<float> list(static_cast<size_t>(t.elements()));
  op::download(ctx, t, Tensor::of(list.data(), DType::F32, t.shape, t.rank));
  return list;
}

bool is_zero(const std::vector<float>& v) {
  for (float x : v)
    if (x != 0) return false;
  return true;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); i++) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? dot / std::sqrt(aa * bb) : 0;
}

/// The pictures at the restore's size, [size, size, 3] U8. One that has this size already is used in place.
std::vector<Tensor> crop(Context& ctx, const RestoreRequest& r) {
  std::vector<Tensor> crops;
  for (const Tensor& picture : r.pictures) {
    if (picture.has_shape({r.size, r.size, 3})) {
      crops.push_back(op::upload(ctx, picture));
      continue;
    }
    crops.push_back(ctx.workspace.tensor(DType::U8, {r.size, r.size, 3}));
    Workspace::Frame frame(ctx.workspace);
    op::image_to_tensor(ctx, {.pixels = op::upload(ctx, picture), .out = crops.back()});
  }
  return crops;
}

/// Latent tokens [n * grid, C] of all pictures. All pass through the same tensors, as in embed_crops.
Tensor encode(Context& ctx, const Model& model, const std::vector<Tensor>& crops, TokenGrid grid,
              const std::function<void(int)>& on_picture) {
  const int64_t n = static_cast<int64_t>(crops.size());
  const Tensor latents = ctx.workspace.tensor(DType::F32, {n * grid.tokens(), model.autoencoder->latent_channels()});
  Workspace::Frame frame(ctx.workspace);
  const Tensor image = ctx.workspace.tensor(DType::F32, {crops[0].shape[0], crops[0].shape[1], 3}),
               tokens = ctx.workspace.tensor(DType::F32, {grid.tokens(), latents.last()});
  for (int64_t i = 0; i < n; i++) {
    op::image_to_tensor(ctx, {.pixels = crops[i], .out = image});
    run_as_graph(ctx, "encode", [&] { model.autoencoder->encode(ctx, image, tokens); });
    op::convert(ctx, {.x = tokens, .out = latents.slice(0, i * grid.tokens(), (i + 1) * grid.tokens())});
    on_picture(static_cast<int>(i) + 1);
  }
  if (!op::all_finite(ctx, latents)) fail(Code::Numerical, "the encoder gave a latent that is not finite");
  return latents;
}

struct Anchor {
  Tensor vector;                  // [512], undefined when identity is off
  std::vector<float> references;  // the references' anchor, which similarities are measured to; may be empty
};

/// Eq. 3-4 with the fallbacks of model-specification.md 4: references, else the degraded picture, else off.
Anchor find_anchor(Context& ctx, const Model& model, const RestoreRequest& r, const std::vector<Tensor>& crops,
                   RestoreResult* result) {
  Anchor anchor;
  if (!model.face) return anchor;
  const int64_t n = static_cast<int64_t>(crops.size()), size = AdaFace::kEmbedding;
  const Tensor embeddings = ctx.workspace.tensor(DType::F32, {n, size}),
               vector = ctx.workspace.tensor(DType::F32, {size});
  const Tensor norms = ctx.workspace.tensor(DType::F32, {n}), weights = ctx.workspace.tensor(DType::F32, {n});
  embed_crops(ctx, model, crops, embeddings);
  auto combine = [&](int64_t first, int64_t end, double temperature) {
    op::identity_anchor(ctx, {.embeddings = embeddings.slice(0, first, end),
                              .temperature = temperature,
                              .anchor = vector,
                              .norms = norms.slice(0, first, end),
                              .weights = weights.slice(0, first, end)});
    return values(ctx, vector);
  };
  result->identity_source = "none";
  result->embeddings = values(ctx, embeddings);
  if (n > 1) {
    anchor.references = combine(1, n, model.spec.number("adapter.temperature", 1));
    result->norms = values(ctx, norms.slice(0, 1, n));
    result->weights = values(ctx, weights.slice(0, 1, n));
    if (is_zero(anchor.references)) anchor.references.clear();
  }
  if (!anchor.references.empty()) {
    result->compared = true;  // also where the anchor takes no part in the restore
    result->before = cosine(values(ctx, embeddings.select(0, 0)), anchor.references);
  }
  if (!r.variant.identity || !model.identity) return anchor;
  result->anchor = anchor.references.empty() ? combine(0, 1, 1) : anchor.references;
  if (is_zero(result->anchor)) {
    result->anchor.clear();
    return anchor;
  }
  result->identity_source = anchor.references.empty() ? "degraded" : "references";
  anchor.vector = vector;
  return anchor;
}

/// Position ids (t, h, w, l) of text, scene, degraded and references. model-specification.md 2
Tensor position_ids(Context& ctx, int64_t text, TokenGrid grid, int64_t references) {
  const int64_t tokens = text + grid.tokens() * (2 + references);
  const Tensor ids = ctx.workspace.tensor(DType::I32, {tokens, 4});
  if (ctx.planning()) return ids;
  std::vector<int32_t> list;
  list.reserve(static_cast<size_t>(ids.elements()));
  auto put = [&](int64_t t, int64_t h, int64_t w, int64_t l) {
    for (const int64_t id : {t, h, w, l}) list.push_back(static_cast<int32_t>(id));
  };
  for (int64_t l = 0; l < text; l++) put(0, 0, 0, l);
  for (int64_t picture = -1; picture <= references; picture++) {
    const int64_t t = picture < 0 ? 0 : picture == 0 ? 2 : 9 + picture;  // scene, degraded, references from 10
    for (int64_t h = 0; h < grid.rows; h++)
      for (int64_t w = 0; w < grid.columns; w++) put(t, h, w, 0);
  }
  op::upload_into(ctx, Tensor::of(list.data(), DType::I32, {tokens, 4}), ids);
  ctx.note("ids", ids);
  return ids;
}

Conditioning condition(Context& ctx, const Model& model, const RestoreRequest& r, const Tensor& latents,
                       TokenGrid grid) {
  const Flux2Transformer& transformer = *model.transformer;
  const int64_t references = static_cast<int64_t>(r.pictures.size()) - 1, context = transformer.config().context;
  const bool own_prompt = references == 0 && model.weights.has("prompt.prompt_without_references");
  Tensor prompt =
      model.weights.loaded(own_prompt ? "prompt.prompt_without_references" : "prompt.prompt", {-1, context});
  ConditioningInputs in;
  if (r.guidance != 1) in.text.push_back(model.weights.loaded("prompt.empty", {prompt.shape[0], context}));
  if (r.prompt.defined()) {
    const bool fits = r.prompt.has_shape({prompt.shape[0], context});
    if (!fits || (r.prompt.dtype != DType::F32 && r.prompt.dtype != DType::BF16))
      fail(Code::InvalidArgument, "restore: prompt must be F32 or BF16 [%lld, %lld], not %s",
           static_cast<long long>(prompt.shape[0]), static_cast<long long>(context), r.prompt.describe().c_str());
    prompt = op::upload(ctx, r.prompt);
  }
  in.text.push_back(prompt);
  in.condition_latents = latents;
  in.ids = position_ids(ctx, prompt.shape[0], grid, references);
  in.scene = in.degraded = grid;
  in.variant = r.variant;
  Conditioning c;
  run_as_graph(ctx, "condition", [&] { c = make_conditioning(ctx, transformer, *model.structure, in); });
  return c;
}

void check_request(const Model& model, const RestoreRequest& r) {
  const Autoencoder& autoencoder = model.need(model.autoencoder, "autoencoder (VAE)");
  const Flux2Config& f = model.need(model.transformer, "transformer").config();
  const int64_t reduction = autoencoder.reduction();
  if (f.in_channels != autoencoder.latent_channels())
    fail(Code::InvalidCheckpoint,
         "the transformer takes latents of %lld channels, the autoencoder has %lld: they are not of one model",
         static_cast<long long>(f.in_channels), static_cast<long long>(autoencoder.latent_channels()));
  if (f.axes_dim.size() != 4)
    fail(Code::InvalidCheckpoint, "restoring needs 4 RoPE axes (t, h, w, l), the checkpoint names %zu",
         f.axes_dim.size());
  if (r.pictures.empty()) fail(Code::InvalidArgument, "restore: there is no picture");
  if (r.size < reduction || r.size % reduction != 0)
    fail(Code::InvalidArgument, "restore: size must be a multiple of %lld, not %lld", static_cast<long long>(reduction),
         static_cast<long long>(r.size));
  if (r.steps < 1) fail(Code::InvalidArgument, "restore: steps must be at least 1, not %d", r.steps);
  if (!r.out.has_shape({r.size, r.size, 3}) || r.out.dtype != DType::U8)
    fail(Code::Internal, "restore: the result's buffer has the wrong size");
  if (r.noise.defined() &&
      (r.noise.dtype != DType::F32 || !r.noise.has_shape({f.in_channels, r.size / reduction, r.size / reduction})))
    fail(Code::InvalidArgument, "restore: noise must be F32 [%lld, %lld, %lld], not %s",
         static_cast<long long>(f.in_channels), static_cast<long long>(r.size / reduction),
         static_cast<long long>(r.size / reduction), r.noise.describe().c_str());
}

}  // namespace

void restore(Context& ctx, const Model& model, const RestoreRequest& r, RestoreResult* result) {
  check_request(model, r);
  const Flux2Transformer& transformer = model.need(model.transformer, "transformer");
  const int64_t side = r.size / model.autoencoder->reduction();
  const TokenGrid grid{side, side};
  const int64_t channels = transformer.config().in_channels;
  if (!ctx.planning()) *result = {};
  ctx.settings = settings_of(r);
  Stages stages(r, result);
  Workspace::Frame frame(ctx.workspace);

  stages.begin(ctx, "prepare");
  const std::vector<Tensor> crops = crop(ctx, r);

  stages.begin(ctx, "identity");
  const Anchor anchor = find_anchor(ctx, model, r, crops, result);
  IdentityDeltas deltas;
  if (anchor.vector.defined()) {
    ctx.settings += ", an anchor";
    run_as_graph(ctx, "identity", [&] { deltas = model.identity->deltas(ctx, anchor.vector); });
  }

  stages.begin(ctx, "encode", static_cast<int>(crops.size()));
  const Tensor latents = encode(ctx, model, crops, grid, [&](int done) { stages.step(ctx, done); });

  ctx.note("condition_latents", latents);

  stages.begin(ctx, "condition");
  const Conditioning c = condition(ctx, model, r, latents, grid);
  const Tensor noise = ctx.workspace.tensor(DType::F32, {channels, grid.tokens()}),
               z = ctx.workspace.tensor(DType::F32, {grid.tokens(), channels});
  if (r.noise.defined())
    op::upload_into(ctx, r.noise.reshape({channels, grid.tokens()}), noise);
  else
    op::random_normal(ctx, {.seed = r.seed, .generator = r.generator, .out = noise});
  op::transpose(ctx, {.x = noise, .out = z});

  stages.begin(ctx, "sample", r.steps);
  sample(ctx, transformer, c,
         {.sigmas = flow_schedule(r.steps, grid.tokens()),
          .guidance = r.guidance,
          .identity = deltas,
          .on_step =
              [&](int step) {
                if (!op::all_finite(ctx, z))
                  fail(Code::Numerical, "the latent is not finite after step %d of %d", step, r.steps);
                stages.step(ctx, step);
              }},
         z);

  stages.begin(ctx, "decode");
  const Tensor image = ctx.workspace.tensor(DType::F32, {r.size, r.size, 3}), pixels = op::device_tensor(ctx, r.out);
  run_as_graph(ctx, "decode", [&] {
    model.autoencoder->decode(ctx, z, side, side, image);
    op::tensor_to_image(ctx, {.x = image, .pixels = pixels});
  });
  if (!op::all_finite(ctx, image)) fail(Code::Numerical, "the decoder gave a pixel that is not finite");
  ctx.note("image", image);
  op::download(ctx, pixels, r.out);

  if (model.face && (result->compared || ctx.planning())) {
    stages.begin(ctx, "compare");
    const Tensor embedding = ctx.workspace.tensor(DType::F32, {1, AdaFace::kEmbedding});
    embed_crops(ctx, model, {pixels}, embedding);
    if (!ctx.planning()) result->after = cosine(values(ctx, embedding), anchor.references);
  }
  stages.end();
}

void embed_face(Context& ctx, const Model& model, const Tensor& picture, int64_t size, const Tensor& embedding) {
  Workspace::Frame frame(ctx.workspace);
  const Tensor crop = ctx.workspace.tensor(DType::U8, {size, size, 3});
  op::image_to_tensor(ctx, {.pixels = op::upload(ctx, picture), .out = crop});
  const Tensor on_device = op::device_tensor(ctx, embedding);
  embed_crops(ctx, model, {crop}, on_device.reshape({1, AdaFace::kEmbedding}));
  op::download(ctx, on_device, embedding);
}

}  // namespace iconface
