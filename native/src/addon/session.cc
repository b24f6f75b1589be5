#include "addon/session.h"

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "addon/convert.h"
#include "addon/options.h"
#include "addon/spec.h"
#include "binding/call.h"
#include "binding/repeat.h"
#include "cpu/host/select.h"
#include "model/device_check.h"
#include "op/transfer.h"
#include "runtime/machine.h"

namespace iconface::addon {

// ---- life cycle -----------------------------------------------------------------------------------------------------------

Napi::Function Session::define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {InstanceMethod<&Session::load>("load"), InstanceMethod<&Session::run>("run"),
                      InstanceMethod<&Session::restore>("restore"), InstanceMethod<&Session::embed>("embed"),
                      InstanceMethod<&Session::estimate>("estimate"), InstanceMethod<&Session::dispose>("dispose")});
}

Session::Session(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Session>(info), env_(info.Env()), mailbox_(info.Env()) {
  guarded(info.Env(), [&] {
    if (info.Length() < 1 || !info[0].IsObject()) fail(Code::InvalidArgument, "expected the session's options");
    const Napi::Object options = info[0].As<Napi::Object>();
    processor_ = &cpu::select(text_option(options, "isa", ""));
    device_name_ = text_option(options, "device", "cpu");
    const std::string precision = choice_option(options, "precision", {"bf16", "f32", "fp8"});
    precision_ = precision == "f32" ? Precision::F32 : precision == "fp8" ? Precision::FP8 : Precision::BF16;
    const int threads =
        options.Get("threads").IsUndefined() ? usable_processors() : whole_option(options, "threads", 1, 1024);
    if (options.Get("checkpoint").IsObject()) spec_ = spec_from_js(options.Get("checkpoint").As<Napi::Object>());
    pool_ = std::make_unique<ThreadPool>(threads);
    closing_ = make_closing();
    queue_.start();  // now, so that disposing never has to
  });
  // Added after the mailbox's own hook, so it runs before it: the thread has ended when the mailbox closes.
  napi_add_env_cleanup_hook(env_, on_environment_end, this);
}

Session::~Session() {
  if (open_) napi_remove_env_cleanup_hook(env_, on_environment_end, this);
  shut_down();
}

void Session::on_environment_end(void* session) { static_cast<Session*>(session)->shut_down(); }

void Session::shut_down() {
  if (!open_) return;
  open_ = false;
  queue_.stop();
  mailbox_.close();
  model_.reset();
  reserve_.drop();
  device_.reset();
  pool_.reset();
}

void Session::require_open() const {
  if (disposed_ || !open_) fail(Code::Disposed, "the model is disposed: load it again");
}

const Model& Session::require_model() const {
  if (!loaded_) fail(Code::Internal, "the model is not loaded");
  return *model_;
}

// ---- jobs -----------------------------------------------------------------------------------------------------------------

struct Session::Reply : Letter {
  Reply(Session* session, const Job* job) : session(session), job(job) {}
  void read(Napi::Env env) override { session->settle(env, job); }
  Session* const session;
  const Job* const job;
};

namespace {
using Plan = std::vector<Meter::Stage>;

/// { stage: operations }
Napi::Value plan_to_js(Napi::Env env, const Plan& plan) {
  Napi::Object o = Napi::Object::New(env);
  for (const Meter::Stage& stage : plan)
    if (stage.planned > 0) o.Set(stage.name, stage.planned);
  return o;
}

/// How far a restore is.
struct Distance {
  std::string stage;
  int step = 0, steps = 0;
  double elapsed = 0, done = 0;  // milliseconds, operations of the stage
};
}  // namespace

struct Session::Report : Letter {
  Report(Session* session, const Job* job, Distance distance, std::optional<Plan> plan)
      : session(session), job(job), distance(std::move(distance)), plan(std::move(plan)) {}
  void read(Napi::Env env) override {
    const auto found = session->pending_.find(job);
    if (found == session->pending_.end() || found->second.progress.IsEmpty()) return;
    const Distance& d = distance;
    found->second.progress.Call({Napi::String::New(env, d.stage), Napi::Number::New(env, d.step),
                                 Napi::Number::New(env, d.steps), Napi::Number::New(env, d.elapsed),
                                 Napi::Number::New(env, d.done), plan ? plan_to_js(env, *plan) : env.Undefined()});
  }
  Session* const session;
  const Job* const job;
  const Distance distance;
  const std::optional<Plan> plan;  // with the first report
};

namespace {
const Error kNoMemory(Code::OutOfMemory, "out of memory");  // made beforehand: copies share its text
}  // namespace

void Session::prepare(Task& task, Work work) {
  task.reply = std::make_unique<Reply>(this, &task);
  task.work = [this, &task, work = std::move(work)]() mutable {
    try {
      if (task.cancelled) fail(Code::Aborted, "the job was cancelled");
      task.answer = work(task);
    } catch (const Error& e) {
      task.error.emplace(e);
    } catch (const std::bad_alloc&) {
      task.error.emplace(kNoMemory);
    } catch (const std::exception& e) {
      try {
        task.error.emplace(Code::Internal, e.what());
      } catch (const std::bad_alloc&) {
        task.error.emplace(kNoMemory);
      }
    }
    // Nothing of the job stays on this thread: whoever awaits the promise finds its memory given back.
    work = nullptr;
    mailbox_.post(std::move(task.reply));
  };
}

Napi::Promise Session::submit(Napi::Env env, Work work, Pending pending) {
  const std::shared_ptr<Task> task = pending.task;
  prepare(*task, std::move(work));
  pending.deferred = Napi::Promise::Deferred::New(env);
  const Napi::Promise promise = pending.deferred->Promise();
  std::map<const Job*, Pending> entry;
  entry.emplace(task.get(), std::move(pending));
  queue_.submit(task);
  add_pending(entry.extract(entry.begin()));
  return promise;
}

void Session::add_pending(std::map<const Job*, Pending>::node_type entry) {
  if (pending_.empty()) {
    mailbox_.keep_alive(true);
    Ref();
  }
  pending_.insert(std::move(entry));
}

std::map<const Job*, Session::Pending>::node_type Session::make_closing() {
  Pending pending;
  Task* task = pending.task.get();
  prepare(*task, [this](Task&) -> Answer {
    loaded_ = false;
    model_.reset();
    reserve_.drop();
    device_.reset();
    pool_.reset();
    return [this](Napi::Env e) -> Napi::Value {
      queue_.stop();  // nothing waits and nothing runs: the thread ends at once
      return e.Undefined();
    };
  });
  std::map<const Job*, Pending> entry;
  entry.emplace(task, std::move(pending));
  return entry.extract(entry.begin());
}

void Session::settle(Napi::Env env, const Job* job) {
  const auto found = pending_.find(job);
  if (found == pending_.end()) return;
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  const Answer answer = std::move(pending.task->answer);
  const std::optional<Error> error = std::move(pending.task->error);
  const auto reject = [&](Code code, const char* message) {
    pending.deferred->Reject(error_to_js(env, code, message));
  };
  if (error && error->code == Code::Aborted && disposed_) {
    reject(Code::Disposed, "the model was disposed while the job ran");
  } else if (error) {
    reject(error->code, error->what());
  } else {
    try {
      pending.deferred->Resolve(answer(env));
    } catch (const Napi::Error& e) {
      pending.deferred->Reject(e.Value());
    } catch (const std::exception& e) {
      reject(Code::OutOfMemory, e.what());
    }
  }
  if (pending_.empty()) {
    mailbox_.keep_alive(false);
    Unref();
  }
}

void Session::cancel(Napi::Env env, const std::shared_ptr<Task>& task) {
  task->cancelled = true;
  if (!queue_.remove(task.get())) return;
  static const Error never(Code::Aborted, "the job was cancelled before it began");
  task->error.emplace(never);
  settle(env, task.get());
}

Device* Session::device() {
  if (device_opened_) return device_.get();
  const bool choose = device_name_ == "auto";
  try {
    device_ = open_device(choose ? "cuda" : device_name_);
    // The emulated device is there to be tested; it is asked when a test wants that.
    const bool asked = device_ && (device_->name != "cuda-emulated" || getenv("ICONFACE_EMULATOR_CHECK") != nullptr);
    if (asked) check_device(*device_, *processor_, *pool_, precision_);
  } catch (const Error& e) {
    device_.reset();
    if (!choose || e.code != Code::DeviceUnavailable) throw;
    device_reason_ = e.what();
  }
  device_opened_ = true;
  return device_.get();
}

void Session::require_precision() const {
  if (precision_ != Precision::FP8 || (device_ && device_->has_e4m3())) return;
  const std::string why = device_ ? device_->description : device_reason_;
  fail(Code::Unsupported,
       "precision 'fp8' needs a GPU of compute capability 8.9 or later (Ada, Hopper, Blackwell), not %s%s: "
       "use precision 'bf16', or another device",
       device_ ? device_->name.c_str() : "the processor", why.empty() ? "" : (" (" + why + ")").c_str());
}

Context Session::context(Workspace& workspace, const std::atomic<bool>* cancelled) const {
  return {device_ ? device_->backend : *processor_, *pool_, workspace, device_.get(), cancelled};
}

namespace {
/// The pool is watched while this lives.
class Watching {
 public:
  Watching(ThreadPool& pool, Onlooker* onlooker) : pool_(pool) { pool.watch(onlooker); }
  ~Watching() { pool_.watch(nullptr); }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

 private:
  ThreadPool& pool_;
};
}  // namespace

void Session::with_memory(const Job& job, const std::function<void(Context&)>& body) {
  Meter meter;
  with_memory(job, meter, {}, {}, body);
}

void Session::with_memory(const Job& job, Meter& meter, std::chrono::milliseconds every, std::function<void()> on_time,
                          const std::function<void(Context&)>& body) {
  Workspace plan;
  Context planning = context(plan, &job.cancelled);
  planning.meter = &meter;
  body(planning);
  if (!reserve_.has(plan.peak())) {
    reserve_.drop();
    const int64_t available = Pages::grantable(device_.get());
    if (plan.peak() > available)
      fail(Code::OutOfMemory,
           "this needs %.1f MiB beside the weights, %.1f MiB are free%s: choose a smaller size or fewer references",
           static_cast<double>(plan.peak()) / (1 << 20), static_cast<double>(available) / (1 << 20),
           (device_ ? " on " + device_->name : why_no_more(memory_info())).c_str());
  }
  Workspace workspace(reserve_.take(plan.peak(), device_.get()));
  Context working = context(workspace, &job.cancelled);
  working.meter = &meter;
  meter.start(&job.cancelled, every, std::move(on_time));
  {
    const Watching watching(*pool_, &meter);
    body(working);
  }
  if (device_) device_->synchronize();
  reserve_.keep(workspace.release());
}

void Session::when_idle() {
  reserve_.drop();
  if (device_) device_->trim();
}

// ---- methods ----------------------------------------------------------------------------------------------------------------

Napi::Value Session::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    return submit(
        info.Env(),
        [this](Task& job) -> Answer {
          if (!loaded_) {
            device();
            require_precision();
            Workspace none{Pages()};
            Context ctx = context(none, &job.cancelled);
            model_ = std::make_unique<Model>(ctx, spec_, precision_);
            loaded_ = true;
          }
          // Taken here: a dispose may have freed the model before JavaScript reads the answer.
          const int threads = pool_->workers();
          const int64_t bytes = model_->weights.mapped_bytes() + model_->weights.private_bytes();
          const std::string name = device_ ? device_->name : "cpu";
          const std::string text = device_ ? device_->description : device_reason_;
          return [this, threads, bytes, name, text](Napi::Env env) -> Napi::Value {
            Napi::Object o = Napi::Object::New(env);
            o.Set("device", name);
            o.Set("deviceText", text);
            o.Set("precision", precision_name(precision_));
            o.Set("isa", std::string(processor_->name).substr(4));
            o.Set("threads", threads);
            o.Set("bytes", static_cast<double>(bytes));
            return o;
          };
        },
        Pending{});
  });
}

namespace {
/// Intermediates of a traced run, copied as they pass.
class Recorder : public Trace {
 public:
  explicit Recorder(binding::Call* call, std::string prefix) : call_(call), prefix_(std::move(prefix)) {}
  void record(Context& ctx, const std::string& name, const Tensor& value) override {
    op::download(ctx, value, call_->host_output_like((prefix_ + name).c_str(), value));
  }

 private:
  binding::Call* call_;
  std::string prefix_;
};

Napi::Object outputs_to_js(Napi::Env env, const binding::Call& call) {
  Napi::Object results = Napi::Object::New(env);
  for (const binding::Call::Output& o : call.outputs) results.Set(o.name, tensor_to_js(env, o.tensor));
  return results;
}
}  // namespace

Napi::Value Session::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    if (info.Length() < 3 || !info[0].IsString() || !info[1].IsObject() || !info[2].IsObject())
      fail(Code::InvalidArgument, "expected (kind, tensors, params)");
    const std::string kind = info[0].As<Napi::String>().Utf8Value();
    const binding::Run body = binding::find(kind);
    if (body == nullptr) fail(Code::InvalidArgument, "there is no operation or network '%s'", kind.c_str());

    struct State {
      binding::Call call;
      std::deque<Pages> memory;
      binding::Times times;
    };
    auto state = std::make_shared<State>();
    const Napi::Object tensors = info[1].As<Napi::Object>(), params = info[2].As<Napi::Object>();
    for (const auto& entry : tensors) {
      const std::string name = entry.first.ToString().Utf8Value();
      const Napi::Value value = entry.second;
      if (value.IsUndefined()) continue;
      state->memory.emplace_back();
      state->call.inputs[name] = tensor_from_js(name, value, &state->memory.back());
    }
    for (const auto& entry : params) {
      const std::string name = entry.first.ToString().Utf8Value();
      const Napi::Value value = entry.second;
      if (value.IsUndefined()) continue;
      if (value.IsString())
        state->call.texts[name] = value.As<Napi::String>().Utf8Value();
      else
        state->call.number_lists[name] = numbers_from_js(value, name);
    }
    return submit(
        info.Env(),
        [this, state, body](Task& job) -> Answer {
          binding::Call& call = state->call;
          call.model = model_.get();
          call.device = device();
          std::deque<Pages> inputs;  // on the device, given back on this thread
          if (call.device != nullptr)
            for (auto& [name, tensor] : call.inputs) {
              inputs.emplace_back(std::max<int64_t>(tensor.bytes(), 1), call.device);
              call.device->upload(inputs.back().data(), tensor.data, tensor.bytes());
              tensor.data = inputs.back().data();
            }
          Recorder recorder(&call, "trace.");
          if (model_) model_->weights.check_unchanged();
          with_memory(job, [&](Context& ctx) {
            if (call.flag("trace")) ctx.trace = &recorder;
            if (ctx.planning()) {
              body(ctx, call);
              binding::plan_repetitions(call);
              call.refuse_unused();
            } else {
              state->times = binding::repeat(ctx, call, body);
            }
          });
          call.fetch_outputs();
          return [state](Napi::Env env) -> Napi::Value {
            Napi::Object results = Napi::Object::New(env);
            for (const binding::Call::Output& o : state->call.outputs) results.Set(o.name, tensor_to_js(env, o.tensor));
            auto list = [&](std::vector<double>& v) {
              return tensor_to_js(env, Tensor::of(v.data(), DType::F64, {static_cast<int64_t>(v.size())}));
            };
            results.Set("seconds", list(state->times.seconds));
            results.Set("cpuSeconds", list(state->times.processor_seconds));
            return results;
          };
        },
        Pending{});
  });
}

RestoreRequest Session::request_from(Napi::Object job, std::vector<Napi::ObjectReference>* held) const {
  RestoreRequest r;
  bool references = true;
  r.variant = variant_from_js(job, &references);
  const Napi::Value list = job.Get("pixels");
  if (!list.IsArray()) fail(Code::InvalidArgument, "expected a list of pictures for pixels");
  const Napi::Array pixels = list.As<Napi::Array>();
  for (uint32_t i = 0; i < pixels.Length() && (i == 0 || references); i++)
    r.pictures.push_back(pixels_from_js(pixels.Get(i), held));
  r.size = whole_option(job, "size", 1, 1 << 14);
  r.steps = whole_option(job, "steps", 1, 1000);
  r.guidance = number_option(job, "guidance");
  r.seed = seed_option(job, "seed");
  r.generator = choice_option(job, "rng", {"torch-cuda", "torch-cpu"}) == "torch-cpu" ? op::Generator::TorchCpu
                                                                                      : op::Generator::TorchCuda;
  return r;
}

Napi::Object Session::restoration_to_js(Napi::Env env, const RestoreResult& r) {
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

constexpr int kReportEveryMs = 1000;  // within what lasts longer

Napi::Value Session::restore(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&] {
    require_open();
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsFunction())
      fail(Code::InvalidArgument, "expected (job, onProgress)");
    const Napi::Object js_job = info[0].As<Napi::Object>();
    std::vector<Napi::ObjectReference> held;
    auto request = std::make_shared<RestoreRequest>(request_from(js_job, &held));
    const Napi::Value out = js_job.Get("out");
    const size_t bytes = static_cast<size_t>(request->size) * request->size * 3;
    if (!out.IsTypedArray() || out.As<Napi::TypedArray>().ByteLength() != bytes)
      fail(Code::InvalidArgument, "expected %zu bytes for out", bytes);
    auto given = std::make_shared<std::array<Pages, 2>>();
    if (!js_job.Get("prompt").IsUndefined())
      request->prompt = tensor_from_js("prompt", js_job.Get("prompt"), &(*given)[0]);
    if (!js_job.Get("noise").IsUndefined()) request->noise = tensor_from_js("noise", js_job.Get("noise"), &(*given)[1]);
    const bool trace = js_job.Get("trace").ToBoolean();
    request->out = Tensor::of(address_of(out.As<Napi::TypedArray>()), DType::U8, {request->size, request->size, 3});
    held.push_back(Napi::Persistent(out.As<Napi::Object>()));

    const auto submitted = std::chrono::steady_clock::now();
    Pending pending{.held = std::move(held), .progress = Napi::Persistent(info[1].As<Napi::Function>())};
    Napi::Object handle = Napi::Object::New(env);
    handle.Set("cancel",
               Napi::Function::New(env, [this, task = std::weak_ptr<Task>(pending.task)](const Napi::CallbackInfo& i) {
                 if (const std::shared_ptr<Task> alive = task.lock()) cancel(i.Env(), alive);
               }));
    const int every =
        js_job.Get("reportEveryMs").IsUndefined() ? kReportEveryMs : whole_option(js_job, "reportEveryMs", 0, 1 << 20);
    const auto work = [this, request, given, trace, submitted, every](Task& job) -> Answer {
      const Model& model = require_model();
      model.weights.check_unchanged();
      auto result = std::make_shared<RestoreResult>();
      Meter meter;
      Distance now;
      bool first = true;
      const auto report = [&, key = &job] {
        const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - submitted;
        now.elapsed = elapsed.count();
        now.done = meter.stage().done;
        mailbox_.post(std::make_unique<Report>(this, key, now, first ? std::optional(meter.stages()) : std::nullopt));
        first = false;
      };
      request->progress = [&](const char* stage, int step, int steps) {
        now.stage = stage, now.step = step, now.steps = steps;
        report();
      };
      auto traced = std::make_shared<binding::Call>();
      Recorder recorder(traced.get(), "");
      with_memory(job, meter, std::chrono::milliseconds(every), report, [&](Context& ctx) {
        if (trace) ctx.trace = &recorder;
        iconface::restore(ctx, model, *request, result.get());
      });
      return [result, trace, traced](Napi::Env e) {
        Napi::Object o = restoration_to_js(e, *result);
        if (trace) o.Set("trace", outputs_to_js(e, *traced));
        return o;
      };
    };
    handle.Set("promise", submit(env, work, std::move(pending)));
    return Napi::Value(handle);
  });
}

Napi::Value Session::embed(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    std::vector<Napi::ObjectReference> held;
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsNumber())
      fail(Code::InvalidArgument, "expected (pixels, size)");
    const Tensor picture = pixels_from_js(info[0], &held);
    const int64_t size = info[1].As<Napi::Number>().Int64Value();
    if (size < 1 || size > 1 << 14) fail(Code::InvalidArgument, "size must be from 1 to 16384");
    const auto work = [this, picture, size](Task& job) -> Answer {
      const Model& model = require_model();
      model.weights.check_unchanged();
      auto embedding = std::make_shared<std::vector<float>>(AdaFace::kEmbedding);
      const Tensor out = Tensor::of(embedding->data(), DType::F32, {AdaFace::kEmbedding});
      with_memory(job, [&](Context& ctx) { embed_face(ctx, model, picture, size, out); });
      return [embedding](Napi::Env env) -> Napi::Value { return floats_to_js(env, *embedding); };
    };
    return submit(info.Env(), work, Pending{.held = std::move(held)});
  });
}

Napi::Value Session::estimate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&] {
    require_open();
    const Model& model = require_model();
    if (!info[0].IsObject()) fail(Code::InvalidArgument, "expected (job)");
    const Napi::Object job = info[0].As<Napi::Object>();
    RestoreRequest r;
    bool references = true;
    r.variant = variant_from_js(job, &references);
    r.size = whole_option(job, "size", 1, 1 << 14);
    r.guidance = number_option(job, "guidance");
    r.steps = whole_option(job, "steps", 1, 1000);
    // Planning touches no pixel: any address will do. Pictures of the result's own size would need no crops.
    const Tensor picture = Tensor::of(this, DType::U8, {2 * r.size, 2 * r.size, 3});
    r.pictures.assign(static_cast<size_t>(1 + (references ? whole_option(job, "references", 0, 64) : 0)), picture);
    r.out = Tensor::of(this, DType::U8, {r.size, r.size, 3});
    RestoreResult result;
    Workspace plan;
    Meter meter;
    Context ctx = context(plan);
    ctx.meter = &meter;
    iconface::restore(ctx, model, r, &result);
    Napi::Object bytes = Napi::Object::New(env), o = Napi::Object::New(env);
    if (device_) {
      bytes.Set("deviceWeights", static_cast<double>(model.weights.device_bytes()));
    } else {
      bytes.Set("mappedWeights", static_cast<double>(model.weights.mapped_bytes()));
      bytes.Set("privateWeights", static_cast<double>(model.weights.private_bytes()));
    }
    bytes.Set("workspace", static_cast<double>(plan.peak()));
    o.Set("bytes", bytes);
    o.Set("operations", plan_to_js(env, meter.stages()));
    return Napi::Value(o);
  });
}

Napi::Value Session::dispose(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return guarded(env, [&] {
    if (disposed_ || !open_) {
      Napi::Promise::Deferred done = Napi::Promise::Deferred::New(env);
      done.Resolve(env.Undefined());
      return Napi::Value(done.Promise());
    }
    // The last job frees the model on its own thread, behind the one that is running.
    const std::shared_ptr<Task> closing = closing_.mapped().task;
    closing_.mapped().deferred = Napi::Promise::Deferred::New(env);
    const Napi::Promise promise = closing_.mapped().deferred->Promise();
    disposed_ = true;
    for (auto next = pending_.begin(); next != pending_.end();) cancel(env, (next++)->second.task);
    add_pending(std::move(closing_));
    if (!queue_.submit_last(closing)) closing->work();
    return Napi::Value(promise);
  });
}

}  // namespace iconface::addon
