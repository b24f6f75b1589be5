// Meter: how much of a job's work is done, in additions and multiplications of its matrix products, convolutions and
// attention, which take nearly all of its time.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "runtime/thread_pool.h"

namespace iconface {

struct Context;

class Meter : public Observer {
 public:
  struct Stage {
    std::string name;
    double planned = 0, done = 0;  // additions and multiplications
  };

  /// Later operations belong to this stage. The first stage is called "".
  void begin(const std::string& stage);
  const std::vector<Stage>& stages() const { return stages_; }
  const Stage& stage() const { return stages_[current_]; }

  /// While planning: adds work that the stage will do but that is not planned operation by operation.
  void plan(double operations) { stages_[current_].planned += operations; }

  /// Planning is over, and the work begins. `on_time` is called on the job's thread, also within operations, once
  /// `every` has passed since its last call or since reported(). What it throws is dropped.
  void start(const std::atomic<bool>* cancelled, std::chrono::milliseconds every, std::function<void()> on_time);
  /// The caller has reported progress just now.
  void reported() { next_ = Clock::now() + every_; }

  bool go_on(double part) noexcept override;

 private:
  friend class Work;
  friend class Portion;
  using Clock = std::chrono::steady_clock;

  std::vector<Stage> stages_{{}};
  size_t current_ = 0;
  bool running_ = false;
  double before_ = 0, operation_ = 0;  // work of the stage before the current operation, and of that operation
  double portion_begin_ = 0, portion_size_ = 0;  // the part of the current operation that the pool works on, 0 to 1
  const std::atomic<bool>* cancelled_ = nullptr;
  std::chrono::milliseconds every_{};
  std::function<void()> on_time_;
  Clock::time_point next_{};
};

/// An operation of so much work begins, and ends when this is destroyed.
class Work {
 public:
  Work(Context& ctx, double operations);
  ~Work();
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

 private:
  Meter* const meter_;
  const double operations_;
};

/// For an operation of several runs of the pool: while this lives, the pool works on the `index`-th of `count` equal
/// parts.
class Portion {
 public:
  Portion(Context& ctx, int64_t index, int64_t count);
  ~Portion();
  Portion(const Portion&) = delete;
  Portion& operator=(const Portion&) = delete;

 private:
  Meter* const meter_;
};

}  // namespace iconface
