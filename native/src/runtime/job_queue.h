// JobQueue: a thread that runs jobs in the order they came. No job runs on the event loop or on libuv's pool.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace iconface {

struct Job {
  std::atomic<bool> cancelled{false};
  std::function<void()> work;  // must not throw
};

class JobQueue {
 public:
  /// `on_idle` is called on the queue's thread when no job came for a second. It must not throw.
  explicit JobQueue(std::function<void()> on_idle) : on_idle_(std::move(on_idle)) {}
  ~JobQueue() { stop(); }

  /// Starts the thread, before the first job. Throws Threads when the system refuses it.
  void start();
  /// Appends a job. When this throws, the job is not in the queue.
  void submit(std::shared_ptr<Job> job);
  /// Appends the last job, at most once, and none after it. Allocates nothing. False where the thread was never
  /// started: the caller runs the job then.
  bool submit_last(std::shared_ptr<Job> job);
  /// Removes a job that has not begun. False when it has begun or is not in the queue.
  bool remove(const Job* job);
  /// Drops waiting jobs, sets `cancelled` of the running one, and joins the thread. Idempotent. Not from the thread
  /// itself.
  void stop();

 private:
  void serve();

  const std::function<void()> on_idle_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> waiting_;
  std::shared_ptr<Job> running_, last_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace iconface
