#include "addon/jobs.h"

#include <utility>

#include "addon/convert.h"

namespace iconface::addon {

struct Jobs::Reply : Letter {
  Reply(Jobs* jobs, const Job* job) : jobs(jobs), job(job) {}
  void read(Napi::Env env) override { jobs->settle(env, job); }
  Jobs* const jobs;
  const Job* const job;
};

struct Jobs::Report : Letter {
  Report(Jobs* jobs, const Job* job, Arguments arguments) : jobs(jobs), job(job), arguments(std::move(arguments)) {}
  void read(Napi::Env env) override {
    const auto found = jobs->pending_.find(job);
    if (found == jobs->pending_.end() || found->second.progress.IsEmpty()) return;
    found->second.progress.Call(arguments(env));
  }
  Jobs* const jobs;
  const Job* const job;
  const Arguments arguments;
};

namespace {
const Error kNoMemory(Code::OutOfMemory, "out of memory");  // made beforehand: copies share its text
}  // namespace

Jobs::Jobs(Napi::Env env, std::function<void()> when_idle, std::function<void(bool busy)> on_busy)
    : on_busy_(std::move(on_busy)), mailbox_(env), queue_(std::move(when_idle)) {}

void Jobs::start(std::function<void()> last) {
  Pending pending;
  prepare(*pending.task, [this, last = std::move(last)](Task&) -> Answer {
    last();
    return [this](Napi::Env env) -> Napi::Value {
      queue_.stop();  // no job waits or runs: the thread ends at once
      return env.Undefined();
    };
  });
  last_ = entry_of(std::move(pending));
  queue_.start();
}

void Jobs::prepare(Task& task, Work work) {
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
    // The job's objects are freed on this thread, so that whoever awaits the promise finds their memory given back.
    work = nullptr;
    mailbox_.post(std::move(task.reply));
  };
}

Napi::Promise Jobs::submit(Napi::Env env, Work work, Pending pending) {
  const std::shared_ptr<Task> task = pending.task;
  prepare(*task, std::move(work));
  pending.deferred = Napi::Promise::Deferred::New(env);
  const Napi::Promise promise = pending.deferred->Promise();
  Entries::node_type entry = entry_of(std::move(pending));
  queue_.submit(task);
  add_pending(std::move(entry));
  return promise;
}

Jobs::Entries::node_type Jobs::entry_of(Pending pending) {
  Entries entries;
  const Job* const job = pending.task.get();
  entries.emplace(job, std::move(pending));
  return entries.extract(entries.begin());
}

/// From here on the task keeps the process alive, and is settled. Takes no memory.
void Jobs::add_pending(Entries::node_type entry) {
  if (pending_.empty()) {
    mailbox_.keep_alive(true);
    on_busy_(true);
  }
  pending_.insert(std::move(entry));
}

void Jobs::settle(Napi::Env env, const Job* job) {
  const auto found = pending_.find(job);
  if (found == pending_.end()) return;
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  const Answer answer = std::move(pending.task->answer);
  const std::optional<Error> error = std::move(pending.task->error);
  const auto reject = [&](Code code, const char* message) {
    pending.deferred->Reject(error_to_js(env, code, message));
  };
  if (error && error->code == Code::Aborted && closed_) {
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
    on_busy_(false);
  }
}

void Jobs::cancel(Napi::Env env, const std::shared_ptr<Task>& task) {
  task->cancelled = true;
  if (!queue_.remove(task.get())) return;
  static const Error never(Code::Aborted, "the job was cancelled before it began");
  task->error.emplace(never);
  settle(env, task.get());
}

void Jobs::report(const Task& task, Arguments arguments) {
  mailbox_.post(std::make_unique<Report>(this, &task, std::move(arguments)));
}

Napi::Promise Jobs::close(Napi::Env env) {
  if (closed()) {
    const Napi::Promise::Deferred done = Napi::Promise::Deferred::New(env);
    done.Resolve(env.Undefined());
    return done.Promise();
  }
  const std::shared_ptr<Task> last = last_.mapped().task;
  last_.mapped().deferred = Napi::Promise::Deferred::New(env);
  const Napi::Promise promise = last_.mapped().deferred->Promise();
  closed_ = true;
  for (auto next = pending_.begin(); next != pending_.end();) cancel(env, (next++)->second.task);
  add_pending(std::move(last_));
  if (!queue_.submit_last(last)) last->work();
  return promise;
}

void Jobs::stop() {
  stopped_ = true;
  queue_.stop();
  mailbox_.close();
}

}  // namespace iconface::addon
