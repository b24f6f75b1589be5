// JobQueue: one thread that runs jobs in the order they came. Nothing of ours runs on the libuv pool or the event loop.
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
  /// `on_idle` is called on the queue's thread when nothing came for a second; it must not throw.
  explicit JobQueue(std::function<void()> on_idle) : on_idle_(std::move(on_idle)) {}
  ~JobQueue() { stop(); }

  /// Starts the thread; before the first job. Throws Threads when the system refuses it.
  void start();
  /// Appends a job; when that throws, it is not there.
  void submit(std::shared_ptr<Job> job);
  /// As `submit`, but allocates nothing, and needs no thread: false when none runs, and nothing waits or ran before. At most
  /// once; nothing may come after it.
  bool submit_last(std::shared_ptr<Job> job);
  /// Takes a job that has not begun out of the queue; false when it has begun or is not there.
  bool remove(const Job* job);
  /// Drops what waits, lets the running job see `cancelled`, and joins. Idempotent; never called from the thread itself.
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
