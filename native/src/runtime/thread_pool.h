// ThreadPool: the threads one model computes with. The thread that calls run() works too, as worker 0.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace iconface {

/// Sees how far a run is, on the thread that called it.
class Onlooker {
 public:
  virtual ~Onlooker() = default;
  /// Called every now and then; `part` of the units, 0 to 1, is handed out. False: the rest of them shall not be done.
  virtual bool go_on(double part) noexcept = 0;
};

class ThreadPool {
 public:
  /// Starts `workers - 1` threads, or none: throws Threads when the system refuses one.
  explicit ThreadPool(int workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int workers() const;

  /// Calls `work(argument, unit, worker)` once for every unit in [0, units), each on any worker, and returns when all
  /// are done. Units are handed out in order. `work` must not throw and must not call run() again. One caller at a time.
  /// Throws Aborted when the onlooker stopped it: all workers are at rest then.
  void run(int64_t units, void (*work)(void* argument, int64_t unit, int worker), void* argument);

  /// Who looks on from now on; null: nobody. While nothing runs.
  void watch(Onlooker* onlooker);

 private:
  struct State;
  static void share(State&);
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
