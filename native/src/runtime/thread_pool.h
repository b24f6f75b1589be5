// ThreadPool: the threads one model computes with. The thread that calls run() works too, as worker 0.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace iconface {

class ThreadPool {
 public:
  /// Starts `workers - 1` threads; fewer (never an exception) when the system refuses one.
  explicit ThreadPool(int workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int workers() const;

  /// Calls `work(argument, unit, worker)` once for every unit in [0, units), each on any worker, and returns when all
  /// are done. Units are handed out in order. `work` must not throw and must not call run() again. One caller at a time.
  void run(int64_t units, void (*work)(void* argument, int64_t unit, int worker), void* argument);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// `body(unit, worker)` for every unit; results must not depend on which worker ran what.
template <class Body>
__attribute__((always_inline)) inline void parallel_for(ThreadPool& pool, int64_t units, Body&& body) {
  using Plain = std::remove_reference_t<Body>;
  pool.run(
      units, [](void* b, int64_t unit, int worker) { (*static_cast<Plain*>(b))(unit, worker); }, &body);
}

}  // namespace iconface
