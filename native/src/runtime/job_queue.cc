#include "runtime/job_queue.h"

#include <chrono>

#include "base/error.h"
#include "runtime/condition.h"
#include "runtime/start_thread.h"

namespace iconface {

namespace {
constexpr std::chrono::seconds kIdle{1};
}

void JobQueue::start() {
  thread_ = start_thread("the model's own thread", [this] { serve(); });
}

void JobQueue::submit(std::shared_ptr<Job> job) {
  std::lock_guard lock(mutex_);
  if (stopping_) fail(Code::Disposed, "the model is disposed");
  waiting_.push_back(std::move(job));
  wake_.notify_one();
}

bool JobQueue::submit_last(std::shared_ptr<Job> job) {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable()) return false;
  last_ = std::move(job);
  wake_.notify_one();
  return true;
}

bool JobQueue::remove(const Job* job) {
  std::lock_guard lock(mutex_);
  for (auto it = waiting_.begin(); it != waiting_.end(); ++it)
    if (it->get() == job) {
      waiting_.erase(it);
      return true;
    }
  return false;
}

void JobQueue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
    last_.reset();
    if (running_) running_->cancelled = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void JobQueue::serve() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      running_.reset();
      const auto called = [this] { return stopping_ || !waiting_.empty() || last_; };
      if (!wake_.wait_for(lock, kIdle, called)) {
        lock.unlock();
        on_idle_();
        lock.lock();
        wait_until_true(wake_, lock, called);
      }
      if (stopping_) return;
      if (waiting_.empty()) {
        job = running_ = std::move(last_);
      } else {
        job = running_ = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    job->work();
  }
}

}  // namespace iconface
