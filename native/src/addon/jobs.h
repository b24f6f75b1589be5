// Jobs: a session's jobs on its own thread, and how each job's answer comes back to JavaScript, as a promise's result.
#pragma once
#include <napi.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "addon/mailbox.h"
#include "base/error.h"
#include "runtime/job_queue.h"

namespace iconface::addon {

class Jobs {
 public:
  /// Made on the job's thread, called on JavaScript's: the value that the promise resolves with.
  using Answer = std::function<Napi::Value(Napi::Env)>;
  /// A job, and how it ended.
  struct Task : Job {
    std::unique_ptr<Letter> reply;  // made with the task: the way back to JavaScript needs no memory
    Answer answer;
    std::optional<Error> error;
  };
  /// What a job does, on its own thread. The task tells whether it was cancelled.
  using Work = std::function<Answer(Task&)>;
  /// What belongs to a job until its promise is settled.
  struct Pending {
    std::shared_ptr<Task> task = std::make_shared<Task>();
    std::optional<Napi::Promise::Deferred> deferred = {};
    std::vector<Napi::ObjectReference> held = {};  // buffers that the job reads or writes
    Napi::FunctionReference progress = {};
  };
  /// Arguments of a call of `progress`, made on the JavaScript thread.
  using Arguments = std::function<std::vector<napi_value>(Napi::Env)>;

  /// @param when_idle  called on the jobs' thread when no job came for a second; must not throw
  /// @param on_busy    called on the JavaScript thread when the first job becomes pending and when the last is settled
  Jobs(Napi::Env env, std::function<void()> when_idle, std::function<void(bool busy)> on_busy);

  /// Starts the thread. `last` is what close() runs there at the end; its job is made now, so that closing needs no
  /// memory.
  void start(std::function<void()> last);
  /// Queues `work`. Its answer resolves the promise, its Error rejects it. When this throws, nothing is queued.
  Napi::Promise submit(Napi::Env env, Work work, Pending pending);
  void cancel(Napi::Env env, const std::shared_ptr<Task>& task);
  /// Any thread: calls the task's `progress` on the JavaScript thread, unless the task is settled by then.
  void report(const Task& task, Arguments arguments);
  /// Cancels all jobs and runs the last one behind the job that is running. The promise resolves when it has ended.
  Napi::Promise close(Napi::Env env);
  /// Whether no job is taken any more: close() or stop() was called.
  bool closed() const { return closed_ || stopped_; }
  /// The JavaScript environment ends: drops all jobs, joins the thread and delivers nothing from now on.
  void stop();

 private:
  struct Reply;
  struct Report;
  using Entries = std::map<const Job*, Pending>;

  /// Gives the task its work, what becomes of the work's answer or Error, and its reply.
  void prepare(Task& task, Work work);
  Entries::node_type entry_of(Pending pending);
  void add_pending(Entries::node_type entry);
  /// Resolves or rejects the promise of a task that has ended. Rejecting allocates nothing.
  void settle(Napi::Env env, const Job* job);

  const std::function<void(bool)> on_busy_;
  bool closed_ = false, stopped_ = false;
  Entries pending_;
  Entries::node_type last_;
  Mailbox mailbox_;
  JobQueue queue_;  // the last member: its thread uses the others
};

}  // namespace iconface::addon
