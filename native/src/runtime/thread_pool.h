// ThreadPool: the threads that one model computes with. The thread that calls run() works too, as worker 0.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace iconface {

/// Is told how far a run is, on the thread that called it.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Called between pieces of work; `part` of the items, 0 to 1, have been handed out. False ends the run early.
  virtual bool go_on(double part) noexcept = 0;
};

class ThreadPool {
 public:
  /// Starts `workers - 1` threads. Throws Threads when the system refuses one; none is left then.
  explicit ThreadPool(int workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int workers() const;

  /// Calls `work(argument, item, worker)` once for every item in [0, items), on any worker, and returns when all
  /// calls have returned. Items are handed out in order. `work` must not throw and must not call run(). One caller at
  /// a time. Throws Aborted when the observer ended the run; no worker is in `work` then.
  void run(int64_t items, void (*work)(void* argument, int64_t item, int worker), void* argument);

  /// Sets the observer of later runs; null: none. Not while one runs.
  void watch(Observer* observer);

 private:
  struct State;
  static void share(State&);
  std::unique_ptr<State> state_;
};

/// `body(item, worker)` for every item. Results must not depend on which worker ran an item.
template <class Body>
__attribute__((always_inline)) inline void parallel_for(ThreadPool& pool, int64_t items, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  pool.run(
      items, [](void* b, int64_t item, int worker) { (*static_cast<Plain*>(b))(item, worker); }, &body);
}

}  // namespace iconface
