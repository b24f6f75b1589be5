// Meter: how much of a job's work is done, counted in operations: additions and multiplications of matrix products,
// convolutions and attention, which nearly all of its time goes into.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "runtime/thread_pool.h"

namespace iconface {

struct Context;

class Meter : public Onlooker {
 public:
  struct Stage {
    std::string name;
    double planned = 0, done = 0;  // operations
  };

  /// The stage that operations belong to from now on; the first one is called "".
  void begin(const std::string& stage);
  const std::vector<Stage>& stages() const { return stages_; }
  const Stage& stage() const { return stages_[current_]; }

  /// While planning: more work of this stage, which is done but not planned one by one.
  void plan(double operations) { stages_[current_].planned += operations; }

  /// Planning is over: from now on work is done. `on_time` is called on the job's thread, within operations too, once
  /// `every` has passed since it, or anything else, was reported; it may throw, which is not heard.
  void start(const std::atomic<bool>* cancelled, std::chrono::milliseconds every, std::function<void()> on_time);
  /// Something was reported just now.
  void reported() { next_ = Clock::now() + every_; }

  bool go_on(double part) noexcept override;

 private:
  friend class Work;
  friend class Portion;
  using Clock = std::chrono::steady_clock;

  std::vector<Stage> stages_{{}};
  size_t current_ = 0;
  bool running_ = false;
  double before_ = 0, operation_ = 0;            // done of the stage before the current operation, and what that is
  double portion_begin_ = 0, portion_size_ = 0;  // of the current operation, what the pool works on now
  const std::atomic<bool>* cancelled_ = nullptr;
  std::chrono::milliseconds every_{};
  std::function<void()> on_time_;
  Clock::time_point next_{};
};

/// One operation of so much work, which lasts as long as this.
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

/// For operations that last: what the pool works on while this lives is the `index`-th of `count` equal portions.
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
