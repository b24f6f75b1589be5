#include "addon/session.h"

#include <cstdlib>

#include "addon/convert.h"
#include "addon/limits.h"
#include "addon/options.h"
#include "addon/spec.h"
#include "cpu/host/select.h"
#include "model/device_check.h"
#include "runtime/machine.h"
#include "runtime/planning.h"

namespace iconface::addon {

// ---- life cycle -----------------------------------------------------------------------------------------------------

Napi::Function Session::define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {InstanceMethod<&Session::load>("load"), InstanceMethod<&Session::run>("run"),
                      InstanceMethod<&Session::restore>("restore"), InstanceMethod<&Session::embed>("embed"),
                      InstanceMethod<&Session::estimate>("estimate"), InstanceMethod<&Session::crop_face>("cropFace"),
                      InstanceMethod<&Session::paste_face>("pasteFace"), InstanceMethod<&Session::dispose>("dispose")});
}

Session::Session(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Session>(info),
      env_(info.Env()),
      jobs_(
          info.Env(), [this] { when_idle(); },
          // An idle model may be collected; one with jobs may not.
          [this](bool busy) {
            if (busy)
              Ref();
            else
              Unref();
          }) {
  guarded(info.Env(), [&] {
    if (info.Length() < 1 || !info[0].IsObject()) fail(Code::InvalidArgument, "expected the session's options");
    const Napi::Object options = info[0].As<Napi::Object>();
    cpu_ = &cpu::select(text_option(options, "isa", ""));
    device_name_ = text_option(options, "device", "cpu");
    const std::string precision = choice_option(options, "precision", {"bf16", "f32", "fp8"});
    precision_ = precision == "f32" ? Precision::F32 : precision == "fp8" ? Precision::FP8 : Precision::BF16;
    const int threads =
        options.Get("threads").IsUndefined() ? usable_cpus() : whole_option(options, "threads", 1, kMaxThreads);
    if (options.Get("checkpoint").IsObject()) spec_ = spec_from_js(options.Get("checkpoint").As<Napi::Object>());
    pool_ = std::make_unique<ThreadPool>(threads);
    jobs_.start([this] { free_all(); });
  });
  // Hooks are called last added, first called. So the jobs' thread has ended when the mailbox's own hook closes it.
  napi_add_env_cleanup_hook(env_, on_environment_end, this);
  hooked_ = true;
}

Session::~Session() {
  if (hooked_) napi_remove_env_cleanup_hook(env_, on_environment_end, this);
  shut_down();
}

void Session::on_environment_end(void* session) {
  static_cast<Session*>(session)->hooked_ = false;
  static_cast<Session*>(session)->shut_down();
}

void Session::shut_down() {
  jobs_.stop();
  free_all();
}

void Session::free_all() {
  loaded_ = false;
  model_.reset();
  reserve_.drop();
  device_.reset();
  pool_.reset();
}

void Session::require_open() const {
  if (jobs_.closed()) fail(Code::Disposed, "the model is disposed: load it again");
}

const Model& Session::require_model() const {
  if (!loaded_) fail(Code::Internal, "the model is not loaded");
  return *model_;
}

Napi::Value Session::load(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    require_open();
    const auto work = [this](Jobs::Task& job) -> Jobs::Answer {
      if (!loaded_) {
        device();
        require_precision();
        Workspace none{Pages()};
        Context ctx = context(none, &job);
        model_ = std::make_unique<Model>(ctx, spec_, precision_);
        loaded_ = true;
      }
      // Read here: a dispose may have freed the model before JavaScript reads the answer.
      const int threads = pool_->workers();
      const int64_t bytes = model_->weights.mapped_bytes() + model_->weights.private_bytes();
      const std::string name = device_ ? device_->name : "cpu";
      const std::string text = device_ ? device_->description : device_reason_;
      return [this, threads, bytes, name, text](Napi::Env env) -> Napi::Value {
        Napi::Object o = Napi::Object::New(env);
        o.Set("device", name);
        o.Set("deviceText", text);
        o.Set("precision", precision_name(precision_));
        o.Set("isa", std::string(cpu_->name).substr(4));
        o.Set("threads", threads);
        o.Set("bytes", static_cast<double>(bytes));
        return o;
      };
    };
    return jobs_.submit(info.Env(), work, {});
  });
}

Napi::Object Session::submit_cancellable(Napi::Env env, Jobs::Work work, Jobs::Pending pending) {
  Napi::Object handle = Napi::Object::New(env);
  const auto cancel = [this, task = std::weak_ptr<Jobs::Task>(pending.task)](const Napi::CallbackInfo& i) {
    if (const std::shared_ptr<Jobs::Task> alive = task.lock()) jobs_.cancel(i.Env(), alive);
  };
  handle.Set("cancel", Napi::Function::New(env, cancel));
  handle.Set("promise", jobs_.submit(env, std::move(work), std::move(pending)));
  return handle;
}

Napi::Value Session::dispose(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return jobs_.close(info.Env()); });
}

// ---- the device -----------------------------------------------------------------------------------------------------

Device* Session::device() {
  if (device_opened_) return device_.get();
  const bool choose = device_name_ == "auto";
  try {
    device_ = open_device(choose ? "cuda" : device_name_);
    // Tests open the emulated device, often and slowly; it is checked only where one asks for that.
    const bool checked = device_ && (device_->name != "cuda-emulated" || getenv("ICONFACE_EMULATOR_CHECK") != nullptr);
    if (checked) check_device(*device_, *cpu_, *pool_, precision_);
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
       device_ ? device_->name.c_str() : "the CPU", why.empty() ? "" : (" (" + why + ")").c_str());
}

// ---- working memory -------------------------------------------------------------------------------------------------

Context Session::context(Workspace& workspace, const Job* job) const {
  return {device_ ? device_->backend : *cpu_, *pool_, workspace, device_.get(),
          job != nullptr ? &job->cancelled : nullptr};
}

namespace {
/// The pool reports to `observer` while this lives.
class Watching {
 public:
  Watching(ThreadPool& pool, Observer* observer) : pool_(pool) { pool.watch(observer); }
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
  Workspace none;
  Context ctx = context(none, &job);
  ctx.meter = &meter;
  const int64_t bytes = planned_bytes(ctx, body);
  if (!reserve_.has(bytes)) {
    reserve_.drop();
    const int64_t available = Pages::grantable(device_.get());
    if (bytes > available)
      fail(Code::OutOfMemory,
           "this needs %.1f MiB beside the weights, %.1f MiB are free%s: choose a smaller size or fewer references",
           static_cast<double>(bytes) / (1 << 20), static_cast<double>(available) / (1 << 20),
           (device_ ? " on " + device_->name : why_no_more(memory_info())).c_str());
  }
  Workspace workspace(reserve_.take(bytes, device_.get()));
  Context running = ctx.in(workspace);
  meter.start(&job.cancelled, every, std::move(on_time));
  {
    const Watching watching(*pool_, &meter);
    body(running);
  }
  if (device_) device_->synchronize();
  reserve_.keep(workspace.release());
}

void Session::when_idle() {
  reserve_.drop();
  if (device_) device_->trim();
}

}  // namespace iconface::addon
