// Session: one model, or none (operations alone), with threads of its own, as JavaScript holds it.
#pragma once
#include <napi.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "addon/mailbox.h"
#include "base/error.h"
#include "model/model.h"
#include "model/restore.h"
#include "runtime/device.h"
#include "runtime/job_queue.h"
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
  Napi::Value dispose(const Napi::CallbackInfo&);

  using Answer = std::function<Napi::Value(Napi::Env)>;  // made on the job's thread, read on JavaScript's
  struct Reply;
  struct Report;
  /// A job and how it ended.
  struct Task : Job {
    std::unique_ptr<Letter> reply;  // made beforehand, so that the way back to JavaScript needs no memory
    Answer answer;
    std::optional<Error> error;
  };
  struct Pending {
    std::shared_ptr<Task> task = std::make_shared<Task>();
    std::optional<Napi::Promise::Deferred> deferred = {};
    std::vector<Napi::ObjectReference> held = {};  // buffers the job reads or writes, alive until it is settled
    Napi::FunctionReference progress = {};
  };
  using Work = std::function<Answer(Task&)>;
  /// Gives the task its work, what becomes of the work's answer or Error, and its letter.
  void prepare(Task& task, Work work);
  /// Queues `work`; its answer resolves, its Error rejects the promise. `work` gets the task, to see `cancelled`. When this
  /// throws, nothing is queued.
  Napi::Promise submit(Napi::Env env, Work work, Pending pending);
  /// The job that frees everything, with its promise still to be made.
  std::map<const Job*, Pending>::node_type make_closing();
  /// From here on it keeps the process alive and is settled.
  void add_pending(std::map<const Job*, Pending>::node_type entry);
  /// Resolves or rejects the promise of a task that has ended. Needs no memory of the core's.
  void settle(Napi::Env env, const Job* job);
  void cancel(Napi::Env env, const std::shared_ptr<Task>& task);
  void require_open() const;
  const Model& require_model() const;
  void shut_down();
  static void on_environment_end(void* session);

  /// The session's device, opened at the first call; null: the processor. On the job's thread.
  Device* device();
  /// Throws Unsupported where the device does not multiply what the precision asks for.
  void require_precision() const;
  /// Gives back the memory that the last job left for the next one. On the job's thread.
  void when_idle();
  Context context(Workspace& workspace, const std::atomic<bool>* cancelled = nullptr) const;
  /// A context on this session's threads; runs `body` planning, then with exactly the memory it asked for.
  void with_memory(const Job& job, const std::function<void(Context&)>& body);
  /// The same, measured; `on_time` as Meter::start takes it.
  void with_memory(const Job& job, Meter& meter, std::chrono::milliseconds every, std::function<void()> on_time,
                   const std::function<void(Context&)>& body);
  RestoreRequest request_from(Napi::Object job, std::vector<Napi::ObjectReference>* held) const;
  static Napi::Object restoration_to_js(Napi::Env env, const RestoreResult& r);

  napi_env env_;
  const Backend* processor_;        // what the host computes with
  std::string device_name_;         // as asked for: "cpu", "auto", "cuda:0", ...
  std::string device_reason_;       // why "auto" chose the processor; empty when it did not
  std::unique_ptr<Device> device_;  // opened by the first job; before everything that has memory of it
  bool device_opened_ = false;
  Precision precision_;
  CheckpointSpec spec_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<Model> model_;
  std::atomic<bool> loaded_{false};
  bool disposed_ = false, open_ = true;
  std::map<const Job*, Pending> pending_;
  std::map<const Job*, Pending>::node_type closing_;  // made beforehand: dispose must not need memory
  Mailbox mailbox_;
  Reserve reserve_;                          // the job thread's
  JobQueue queue_{[this] { when_idle(); }};  // last: its thread uses everything above
};

}  // namespace iconface::addon
