// Whole networks and their blocks by themselves from JavaScript: parity runs, tests, and whoever trains against them.
#include <cmath>
#include <cstring>

#include "binding/call.h"
#include "model/model.h"
#include "network/conditioning.h"
#include "network/face_template.h"
#include "network/flow_sampler.h"
#include "op/all_finite.h"
#include "op/convert.h"
#include "op/detector_input.h"

namespace iconface::binding {

namespace {

constexpr int64_t kMostDetectorSide = 1 << 14;

Model& model_of(const Call& call) {
  if (call.model == nullptr) fail(Code::InvalidArgument, "this kind needs a session with a loaded checkpoint");
  return *call.model;
}

/// An input of `rank` axes, none of them empty.
Tensor input(const Call& call, const char* name, int rank) {
  const Tensor t = call.input(name);
  if (t.rank != rank || t.elements() == 0)
    fail(Code::InvalidArgument, "%s must have %d axes, none of them empty, not %s", name, rank, t.describe().c_str());
  return t;
}

TokenGrid grid(const Call& call, const char* name) {
  const std::vector<double> sizes = call.numbers(name);
  const auto fits = [](double n) { return n >= 1 && n <= 65536 && n == std::floor(n); };
  if (sizes.size() != 2 || !fits(sizes[0]) || !fits(sizes[1]))
    fail(Code::InvalidArgument, "%s must be [rows, columns], two whole numbers from 1 to 65536", name);
  return {static_cast<int64_t>(sizes[0]), static_cast<int64_t>(sizes[1])};
}

const Flux2Transformer& transformer_of(const Call& call) {
  return model_of(call).need(model_of(call).transformer, "transformer");
}

/// text0 (and text1: empty prompt, prompt), condition, ids, grids and the parts that take part.
Conditioning conditioning_of(Context& ctx, const Call& call) {
  ConditioningInputs in;
  in.text.push_back(call.input("text0"));
  if (call.optional("text1").defined()) in.text.push_back(call.input("text1"));
  in.condition_latents = call.input("condition");
  in.ids = call.input("ids");
  in.scene = grid(call, "sceneGrid");
  in.degraded = grid(call, "degradedGrid");
  in.variant = {.identity = true,
                .residual = call.number("residual", 1) != 0,
                .memory = call.number("memory", 1) != 0,
                .detail = call.number("detail", 1) != 0};
  for (const Tensor& t : in.text)
    if (t.rank != 2 || t.shape[1] != transformer_of(call).config().context || t.shape[0] != in.text[0].shape[0])
      fail(Code::InvalidArgument, "text must be [tokens, %lld], not %s",
           static_cast<long long>(transformer_of(call).config().context), t.describe().c_str());
  if (in.condition_latents.rank != 2 || in.condition_latents.shape[0] < in.degraded.tokens())
    fail(Code::InvalidArgument, "condition must be [tokens, channels] and hold at least the degraded tokens, not %s",
         in.condition_latents.describe().c_str());
  Conditioning c = make_conditioning(ctx, transformer_of(call), *model_of(call).structure, in);
  c.predict_all = call.flag("predictAll");
  return c;
}

IdentityDeltas deltas_of(Context& ctx, const Call& call) {
  const Tensor anchor = call.optional("anchor");
  if (!anchor.defined()) return {};
  return model_of(call).need(model_of(call).identity, "identity pathway").deltas(ctx, anchor);
}

/// A modulation given as one vector [n D]: shift, scale, gate, ...
Modulation modulation_of(const Tensor& t, int64_t hidden, int64_t first) {
  auto part = [&](int64_t i) { return t.slice(0, (first + i) * hidden, (first + i + 1) * hidden); };
  return {part(0), part(1), part(2)};
}

struct LoneBlock {
  Flux2Config config;
  Conditioning conditioning;
};

/// The configuration of a block without its network, and RoPE tables for its tokens.
LoneBlock lone_block(Context& ctx, Call& call, int64_t text, int64_t image, int64_t hidden) {
  LoneBlock b;
  b.config.hidden = hidden;
  b.config.set_axes(call.numbers("ropeAxes"), Code::InvalidArgument);
  b.config.theta = call.number("ropeTheta", 2000);
  b.conditioning.text = text;
  b.conditioning.scene = image;
  b.conditioning.cos = ctx.workspace.tensor(DType::F32, {text + image, b.config.head_dim / 2});
  b.conditioning.sin = ctx.workspace.tensor(DType::F32, {text + image, b.config.head_dim / 2});
  Flux2Transformer(b.config, DType::F32).rope(ctx, call.input("ids"), b.conditioning.cos, b.conditioning.sin);
  return b;
}

}  // namespace

/// latents [scene, C] at `timestep` -> prediction [branches, scene (or all image tokens), C].
void transformer(Context& ctx, Call& call) {
  const Flux2Transformer& network = transformer_of(call);
  const Tensor latents = call.input("latents");
  const Conditioning c = conditioning_of(ctx, call);
  if (!latents.has_shape({c.scene, network.config().in_channels}))
    fail(Code::InvalidArgument, "latents must be [%lld, %lld], not %s", static_cast<long long>(c.scene),
         static_cast<long long>(network.config().in_channels), latents.describe().c_str());
  const Tensor storage = ctx.workspace.tensor(DType::F32, {network.step_size()});
  const StepModulation m = network.modulation(ctx, call.number("timestep"), deltas_of(ctx, call), storage);
  const Tensor out = call.output("prediction", DType::F32,
                                 {c.branches, c.predict_all ? c.image() : c.scene, network.config().in_channels});
  network.forward(ctx, c, m, latents, out);
}

/// One double block: img [image, D], txt [text, D], modulations [6D] each -> img, txt.
void double_block(Context& ctx, Call& call) {
  Model& model = model_of(call);
  const Tensor img = input(call, "img", 2), txt = input(call, "txt", 2), mod_img = input(call, "modImg", 1),
               mod_txt = input(call, "modTxt", 1);
  const int64_t D = img.last(), T = txt.shape[0], I = img.shape[0];
  for (const Tensor& t : {mod_img, mod_txt})
    if (t.shape[0] != 6 * D || t.dtype != DType::F32)
      fail(Code::InvalidArgument, "modImg and modTxt must be F32 [%lld], not %s", static_cast<long long>(6 * D),
           t.describe().c_str());
  LoneBlock lone = lone_block(ctx, call, T, I, D);
  const DoubleBlock block = DoubleBlock::read(ctx, model.weights, call.text("prefix", "transformer.double_blocks.0."),
                                              lone.config, model.precision);
  const StepModulation m{.img_attn = modulation_of(mod_img, D, 0),
                         .img_mlp = modulation_of(mod_img, D, 3),
                         .txt_attn = modulation_of(mod_txt, D, 0),
                         .txt_mlp = modulation_of(mod_txt, D, 3),
                         .single_img = {},
                         .single_txt = {},
                         .final_shift = {},
                         .final_scale = {}};
  const Tensor x = ctx.workspace.tensor(DType::F32, {1, T + I, D});
  op::convert(ctx, {.x = txt, .out = x.select(0, 0).slice(0, 0, T)});
  op::convert(ctx, {.x = img, .out = x.select(0, 0).slice(0, T, T + I)});
  Flux2Transformer(lone.config, model.compute).double_block(ctx, block, lone.conditioning, m, x, true);
  op::convert(ctx, {.x = x.select(0, 0).slice(0, 0, T), .out = call.output("txtOut", DType::F32, {T, D})});
  op::convert(ctx, {.x = x.select(0, 0).slice(0, T, T + I), .out = call.output("imgOut", DType::F32, {I, D})});
}

/// One single block: x [text + image, D], modulation [3D] for both -> out.
void single_block(Context& ctx, Call& call) {
  Model& model = model_of(call);
  const Tensor x = input(call, "x", 2), mod = input(call, "mod", 1);
  const int64_t D = x.last(), L = x.shape[0], T = call.size("text");
  if (T >= L)
    fail(Code::InvalidArgument, "text must be less than x's %lld tokens, not %lld", static_cast<long long>(L),
         static_cast<long long>(T));
  if (mod.shape[0] != 3 * D || mod.dtype != DType::F32)
    fail(Code::InvalidArgument, "mod must be F32 [%lld], not %s", static_cast<long long>(3 * D),
         mod.describe().c_str());
  LoneBlock lone = lone_block(ctx, call, T, L - T, D);
  const SingleBlock block = SingleBlock::read(ctx, model.weights, call.text("prefix", "transformer.single_blocks.0."),
                                              lone.config, model.precision);
  StepModulation m{};
  m.single_img = m.single_txt = modulation_of(mod, D, 0);
  const Tensor stream = ctx.workspace.tensor(DType::F32, {1, L, D});
  op::convert(ctx, {.x = x, .out = stream.select(0, 0)});
  Flux2Transformer(lone.config, model.compute).single_block(ctx, block, lone.conditioning, m, stream, 0, L);
  op::convert(ctx, {.x = stream.select(0, 0), .out = call.output("out", DType::F32, {L, D})});
}

/// latents [scene, C] at sigma = 1 -> at sigma = 0, along `sigmas`.
void sample(Context& ctx, Call& call) {
  const Tensor latents = call.inout(ctx, "latents");
  const Conditioning c = conditioning_of(ctx, call);
  const IdentityDeltas deltas = deltas_of(ctx, call);
  if (call.numbers("sigmas").size() < 2)
    fail(Code::InvalidArgument, "sigmas must be 2 numbers or more (steps + 1, the last one 0), not %zu",
         call.numbers("sigmas").size());
  iconface::sample(
      ctx, transformer_of(call), c,
      {.sigmas = call.numbers("sigmas"), .guidance = call.number("guidance", 4), .identity = deltas, .on_step = {}},
      latents);
}

/// steps, tokens -> sigmas [steps + 1] F64.
void schedule(Context& ctx, Call& call) {
  const int64_t steps = call.size("steps");
  if (steps > 1000000)
    fail(Code::InvalidArgument, "expected 1 to 1000000 for steps but received %lld", static_cast<long long>(steps));
  const std::vector<double> sigmas = flow_schedule(static_cast<int>(steps), call.size("tokens"));
  const Tensor out = call.host_output("sigmas", DType::F64, {static_cast<int64_t>(sigmas.size())});
  if (!ctx.planning()) memcpy(out.data, sigmas.data(), sigmas.size() * sizeof(double));
}

/// size, mode -> matrix [2, 3] F64: where the encoder's face lies in an aligned crop.
void face_crop_matrix(Context& ctx, Call& call) {
  double matrix[6];
  iconface::face_crop_matrix(call.text("mode", "template"), call.size("size", 512), matrix);
  const Tensor out = call.host_output("matrix", DType::F64, {2, 3});
  if (!ctx.planning()) memcpy(out.data, matrix, sizeof matrix);
}

/// image [H, W, 3] in [-1, 1] -> tokens [H/16 * W/16, C].
void encode(Context& ctx, Call& call) {
  const Autoencoder& network = model_of(call).need(model_of(call).autoencoder, "autoencoder (VAE)");
  const Tensor image = call.input("image");
  const int64_t r = network.reduction();
  if (image.rank != 3 || image.shape[2] != 3 || image.shape[0] % r != 0 || image.shape[1] % r != 0 ||
      image.elements() == 0)
    fail(Code::InvalidArgument, "image must be [H, W, 3] with multiples of %lld, not %s", static_cast<long long>(r),
         image.describe().c_str());
  network.encode(
      ctx, image,
      call.output("tokens", DType::F32, {image.shape[0] / r * (image.shape[1] / r), network.latent_channels()}));
}

/// tokens [rows * columns, C] -> image [16 rows, 16 columns, 3].
void decode(Context& ctx, Call& call) {
  const Autoencoder& network = model_of(call).need(model_of(call).autoencoder, "autoencoder (VAE)");
  const Tensor tokens = call.input("tokens");
  const int64_t rows = call.size("rows"), columns = call.size("columns");
  if (!tokens.has_shape({rows * columns, network.latent_channels()}))
    fail(Code::InvalidArgument, "tokens must be [rows * columns, %lld], not %s",
         static_cast<long long>(network.latent_channels()), tokens.describe().c_str());
  network.decode(ctx, tokens, rows, columns,
                 call.output("image", DType::F32, {rows * network.reduction(), columns * network.reduction(), 3}));
}

/// face [112, 112, 3] BGR in [-1, 1] -> raw embedding [512].
void face_embedding(Context& ctx, Call& call) {
  const Tensor face = call.input("face");
  if (!face.has_shape({AdaFace::kSide, AdaFace::kSide, 3}))
    fail(Code::InvalidArgument, "face must be [112, 112, 3], not %s", face.describe().c_str());
  model_of(call)
      .need(model_of(call).face, "face encoder (AdaFace)")
      .embed(ctx, face, call.output("embedding", DType::F32, {AdaFace::kEmbedding}));
}

/// pixels [H, W, 3] RGB; height, width: what they are resized to (their own size) -> boxes, logits, landmarks, a row
/// for every anchor.
void face_detection(Context& ctx, Call& call) {
  const RetinaFace& network = model_of(call).need(model_of(call).detector, "face detector (RetinaFace)");
  const Tensor pixels = input(call, "pixels", 3);
  const int64_t height = call.size("height", pixels.shape[0]), width = call.size("width", pixels.shape[1]);
  if (height > kMostDetectorSide || width > kMostDetectorSide)
    fail(Code::InvalidArgument, "face_detection: a picture must be at most %lld pixels wide and high, not %lld x %lld",
         static_cast<long long>(kMostDetectorSide), static_cast<long long>(width), static_cast<long long>(height));
  const int64_t anchors = RetinaFace::anchors(height, width);
  const Tensor image = ctx.workspace.tensor(DType::F32, {height, width, 3});
  op::detector_input(ctx, {.pixels = pixels, .out = image});
  const Tensor boxes = call.output("boxes", DType::F32, {anchors, 4});
  const Tensor logits = call.output("logits", DType::F32, {anchors, 2});
  const Tensor landmarks = call.output("landmarks", DType::F32, {anchors, 10});
  network.detect(ctx, image, boxes, logits, landmarks);
  for (const Tensor& t : {boxes, logits, landmarks})
    if (!op::all_finite(ctx, t)) fail(Code::Numerical, "the face detector gave a value that is not finite");
}

/// ids [tokens] I32; real (all by default): how many of them are text, the others are padding -> embeddings [tokens,
/// C].
void text_embedding(Context& ctx, Call& call) {
  const Qwen3Encoder& network = model_of(call).need(model_of(call).text, "text encoder");
  const Tensor ids = input(call, "ids", 1);
  network.encode(ctx, ids, call.size("real", ids.shape[0]),
                 call.output("embeddings", DType::F32, {ids.shape[0], network.width()}));
}

}  // namespace iconface::binding
