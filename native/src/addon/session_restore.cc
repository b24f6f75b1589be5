// Session::restore, embed and estimate: what a model does, and what a restore would need.
#include <array>
#include <chrono>

#include "addon/convert.h"
#include "addon/limits.h"
#include "addon/options.h"
#include "addon/session.h"
#include "addon/trace.h"
#include "runtime/planning.h"

namespace iconface::addon {

namespace {

using Clock = std::chrono::steady_clock;
using Plan = std::vector<Meter::Stage>;

/// Milliseconds between two reports of progress within a stage that reports no steps meanwhile.
constexpr int kReportEveryMs = 1000;

/// { stage: operations }
Napi::Value plan_to_js(Napi::Env env, const Plan& plan) {
  Napi::Object o = Napi::Object::New(env);
  for (const Meter::Stage& stage : plan)
    if (stage.planned > 0) o.Set(stage.name, stage.planned);
  return o;
}

/// What a restore and its estimate are both told. `references`: whether the reference pictures take part.
RestoreRequest settings_from_js(const Napi::Object& job, bool* references) {
  RestoreRequest r;
  r.variant = variant_from_js(job, references);
  r.size = whole_option(job, "size", 1, kMaxSize);
  r.steps = whole_option(job, "steps", 1, kMaxSteps);
  r.guidance = number_option(job, "guidance", 0, kMaxGuidance);
  return r;
}

RestoreRequest request_from_js(const Napi::Object& job, std::vector<Napi::ObjectReference>* held) {
  bool references = true;
  RestoreRequest r = settings_from_js(job, &references);
  const Napi::Value list = job.Get("pixels");
  if (!list.IsArray()) fail(Code::InvalidArgument, "expected a list of pictures for pixels");
  const Napi::Array pixels = list.As<Napi::Array>();
  for (uint32_t i = 0; i < pixels.Length() && (i == 0 || references); i++)
    r.pictures.push_back(pixels_from_js(pixels.Get(i), held));
  r.seed = seed_option(job, "seed");
  r.generator = choice_option(job, "rng", {"torch-cuda", "torch-cpu"}) == "torch-cpu" ? op::Generator::TorchCpu
                                                                                      : op::Generator::TorchCuda;
  const Napi::Value out = job.Get("out");
  const size_t bytes = static_cast<size_t>(r.size) * static_cast<size_t>(r.size) * 3;
  if (!out.IsTypedArray() || out.As<Napi::TypedArray>().ByteLength() != bytes)
    fail(Code::InvalidArgument, "expected %zu bytes for out", bytes);
  r.out = Tensor::of(address_of(out.As<Napi::TypedArray>()), DType::U8, {r.size, r.size, 3});
  held->push_back(Napi::Persistent(out.As<Napi::Object>()));
  return r;
}

Napi::Object restoration_to_js(Napi::Env env, const RestoreResult& r) {
  Napi::Object identity = Napi::Object::New(env), timings = Napi::Object::New(env), o = Napi::Object::New(env);
  identity.Set("source", r.identity_source);
  identity.Set("anchor", r.anchor.empty() ? env.Null() : Napi::Value(floats_to_js(env, r.anchor)));
  identity.Set("norms", floats_to_js(env, r.norms));
  identity.Set("weights", floats_to_js(env, r.weights));
  identity.Set("before", r.compared ? Napi::Value(Napi::Number::New(env, r.before)) : env.Null());
  identity.Set("after", r.compared ? Napi::Value(Napi::Number::New(env, r.after)) : env.Null());
  for (const auto& [stage, ms] : r.milliseconds) timings.Set(stage, ms);
  o.Set("identity", identity);
  o.Set("embeddings", floats_to_js(env, r.embeddings));
  o.Set("timings", timings);
  return o;
}

/// How far a restore is: the arguments of lib/native.ts's `onProgress`.
struct Progress {
  std::string stage;
  int step = 0, steps = 0;
  double elapsed = 0, done = 0;  // milliseconds since the call; operations of the stage

  std::vector<napi_value> to_js(Napi::Env env, const Plan& plan) const {
    return {Napi::String::New(env, stage), Napi::Number::New(env, step),
            Napi::Number::New(env, steps), Napi::Number::New(env, elapsed),
            Napi::Number::New(env, done),  plan.empty() ? env.Undefined() : plan_to_js(env, plan)};
  }
};

}  // namespace

Napi::Value Session::restore(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&] {
    require_open();
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsFunction())
      fail(Code::InvalidArgument, "expected (job, onProgress)");
    const Napi::Object js_job = info[0].As<Napi::Object>();
    Jobs::Pending pending{.progress = Napi::Persistent(info[1].As<Napi::Function>())};
    auto request = std::make_shared<RestoreRequest>(request_from_js(js_job, &pending.held));
    auto given = std::make_shared<std::array<Pages, 2>>();
    if (!js_job.Get("prompt").IsUndefined())
      request->prompt = tensor_from_js("prompt", js_job.Get("prompt"), &(*given)[0]);
    if (!js_job.Get("noise").IsUndefined()) request->noise = tensor_from_js("noise", js_job.Get("noise"), &(*given)[1]);
    const bool trace = js_job.Get("trace").ToBoolean();
    const int every =
        js_job.Get("reportEveryMs").IsUndefined() ? kReportEveryMs : whole_option(js_job, "reportEveryMs", 0, 1 << 20);

    const auto work = [this, request, given, trace, every, submitted = Clock::now()](Jobs::Task& job) -> Jobs::Answer {
      const Model& model = require_model();
      model.weights.check_unchanged();
      auto result = std::make_shared<RestoreResult>();
      Meter meter;
      Progress now;
      bool first = true;
      const auto report = [&] {
        now.elapsed = std::chrono::duration<double, std::milli>(Clock::now() - submitted).count();
        now.done = meter.stage().done;
        // The plan is complete before the first report, and goes with it.
        const Plan plan = first ? meter.stages() : Plan();
        jobs_.report(job, [now, plan](Napi::Env e) { return now.to_js(e, plan); });
        first = false;
      };
      request->progress = [&](const char* stage, int step, int steps) {
        now.stage = stage, now.step = step, now.steps = steps;
        report();
      };
      auto traced = std::make_shared<binding::Call>();
      TraceOutputs outputs(traced.get(), "");
      with_memory(job, meter, std::chrono::milliseconds(every), report, [&](Context& ctx) {
        if (trace) ctx.trace = &outputs;
        iconface::restore(ctx, model, *request, result.get());
      });
      return [result, trace, traced](Napi::Env e) {
        Napi::Object o = restoration_to_js(e, *result);
        if (trace) o.Set("trace", outputs_to_js(e, *traced));
        return o;
      };
    };
    return Napi::Value(submit_cancellable(env, work, std::move(pending)));
  });
}

Napi::Value Session::embed(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsNumber())
      fail(Code::InvalidArgument, "expected (pixels, size)");
    Jobs::Pending pending;
    const Tensor picture = pixels_from_js(info[0], &pending.held);
    const int size = whole_number(info[1], "size", 1, kMaxSize);
    const auto work = [this, picture, size](Jobs::Task& job) -> Jobs::Answer {
      const Model& model = require_model();
      model.weights.check_unchanged();
      auto embedding = std::make_shared<std::vector<float>>(AdaFace::kEmbedding);
      const Tensor out = Tensor::of(embedding->data(), DType::F32, {AdaFace::kEmbedding});
      with_memory(job, [&](Context& ctx) { embed_face(ctx, model, picture, size, out); });
      return [embedding](Napi::Env env) -> Napi::Value { return floats_to_js(env, *embedding); };
    };
    return jobs_.submit(info.Env(), work, std::move(pending));
  });
}

Napi::Value Session::estimate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&] {
    require_open();
    const Model& model = require_model();
    if (!info[0].IsObject()) fail(Code::InvalidArgument, "expected (job)");
    const Napi::Object job = info[0].As<Napi::Object>();
    bool references = true;
    RestoreRequest r = settings_from_js(job, &references);
    // Planning reads no pixel, so any address serves. Pictures of another size than the result's are resized, which
    // takes more memory.
    const Tensor picture = Tensor::of(this, DType::U8, {2 * r.size, 2 * r.size, 3});
    const int count = references ? whole_option(job, "references", 0, kMaxReferences) : 0;
    r.pictures.assign(static_cast<size_t>(1 + count), picture);
    r.out = Tensor::of(this, DType::U8, {r.size, r.size, 3});
    RestoreResult result;
    Workspace none;
    Meter meter;
    Context ctx = context(none);
    ctx.meter = &meter;
    const int64_t workspace = planned_bytes(ctx, [&](Context& c) { iconface::restore(c, model, r, &result); });
    Napi::Object bytes = Napi::Object::New(env), o = Napi::Object::New(env);
    if (device_) {
      bytes.Set("deviceWeights", static_cast<double>(model.weights.device_bytes()));
    } else {
      bytes.Set("mappedWeights", static_cast<double>(model.weights.mapped_bytes()));
      bytes.Set("privateWeights", static_cast<double>(model.weights.private_bytes()));
    }
    bytes.Set("workspace", static_cast<double>(workspace));
    o.Set("bytes", bytes);
    o.Set("operations", plan_to_js(env, meter.stages()));
    return Napi::Value(o);
  });
}

}  // namespace iconface::addon
