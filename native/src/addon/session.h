// Session: a model, or none (operations alone), on a device and threads of its own, as JavaScript holds it.
// Its life and memory are in session.cc, its computations in session_run.cc and session_restore.cc.
#pragma once
#include <napi.h>

#include <chrono>
#include <memory>

#include "addon/jobs.h"
#include "model/model.h"
#include "model/restore.h"
#include "runtime/device.h"
#include "runtime/meter.h"

namespace iconface::addon {

class Session : public Napi::ObjectWrap<Session> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Session(const Napi::CallbackInfo&);
  ~Session() override;

 private:
  // The methods of lib/native.ts's NativeSession.
  Napi::Value load(const Napi::CallbackInfo&);
  Napi::Value run(const Napi::CallbackInfo&);
  Napi::Value restore(const Napi::CallbackInfo&);
  Napi::Value embed(const Napi::CallbackInfo&);
  Napi::Value estimate(const Napi::CallbackInfo&);
  Napi::Value crop_face(const Napi::CallbackInfo&);
  Napi::Value paste_face(const Napi::CallbackInfo&);
  Napi::Value dispose(const Napi::CallbackInfo&);

  void require_open() const;
  /// Queues `work` -> { promise, cancel }.
  Napi::Object submit_cancellable(Napi::Env env, Jobs::Work work, Jobs::Pending pending);
  const Model& require_model() const;
  void shut_down();
  static void on_environment_end(void* session);

  /// The session's device, opened by the first call; null: the CPU. On the jobs' thread.
  Device* device();
  /// Throws Unsupported where the device has no products of the precision's type.
  void require_precision() const;
  /// Frees the model and all that belongs to it. On the jobs' thread, or once that has ended.
  void free_all();
  /// Frees the memory that the last job left for the next one. On the jobs' thread.
  void when_idle();
  Context context(Workspace& workspace, const Job* job = nullptr) const;
  /// Plans `body`, then runs it in exactly the memory it needs. Throws OutOfMemory where so much is not free.
  void with_memory(const Job& job, const std::function<void(Context&)>& body);
  /// The same, and `meter` counts its work; `every` and `on_time` as Meter::start takes them.
  void with_memory(const Job& job, Meter& meter, std::chrono::milliseconds every, std::function<void()> on_time,
                   const std::function<void(Context&)>& body);

  napi_env env_;
  bool hooked_ = false;             // on_environment_end is called when the environment ends
  const Backend* cpu_;              // what the host computes with
  std::string device_name_;         // as asked for: "cpu", "auto", "cuda:0", ...
  std::string device_reason_;       // why "auto" chose the CPU; empty when it did not
  std::unique_ptr<Device> device_;  // declared before all that holds memory of it
  bool device_opened_ = false;
  Precision precision_;
  CheckpointSpec spec_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Model> model_;
  std::atomic<bool> loaded_{false};
  Reserve reserve_;  // used on the jobs' thread alone
  Jobs jobs_;        // the last member: its thread uses the others
};

}  // namespace iconface::addon
