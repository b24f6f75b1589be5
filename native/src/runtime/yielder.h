// Yielder: a computing thread yields its CPU now and then to threads that need it for a moment only.
//
// Linux looks for a waiting thread when that thread wakes, and then at the timer tick, every 1 to 4 ms. Where all
// CPUs compute, one file read or timer in a hundred misses its turn and waits for the tick. A yield every kInterval
// ends that.
//
// A yield beside another program that computes costs a whole time slice, and since Linux 6.18 the rest of the
// yielding thread's own slice too: a thread that always yielded would keep a fifth of its share. So yields that took
// longer than kMoment add to a debt, a kRepaid-th part of all time repays it, and a thread in debt by more than
// kMaxDebt does not yield. The other program then gets 5 % more than its share, and a server's own short threads stay
// far below the limit.
#pragma once
#include <algorithm>
#include <chrono>
#include <thread>

namespace iconface {

class Yielder {
 public:
  /// Called between pieces of work, as often as the caller likes: most calls only read the clock.
  void yield_if_due() {
    const Clock::time_point begun = Clock::now();
    if (begun < next_) return;
    std::this_thread::yield();
    const Clock::time_point back = Clock::now();
    debt_ = std::max(debt_ - (begun - last_) / kRepaid, Clock::duration::zero());
    if (back - begun > kMoment) debt_ += back - begun;
    last_ = back;
    next_ = back + std::max(kRepaid * (debt_ - kMaxDebt), kInterval);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::duration kInterval = std::chrono::microseconds(100), kMoment = std::chrono::microseconds(500),
                                   kMaxDebt = std::chrono::milliseconds(20);
  static constexpr int kRepaid = 20;
  Clock::duration debt_{};
  Clock::time_point last_{}, next_{};
};

}  // namespace iconface
