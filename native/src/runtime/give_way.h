// GiveWay: a computing thread offers its processor, now and then, to threads that need it for a moment only.
//
// Linux looks for a waiting thread when one wakes up and then at its tick, every 1 to 4 ms. On a machine whose processors
// all compute, one file read or timer in a hundred just misses its turn and waits for the tick: an offer every kOften
// ends that. Beside another program that computes, an offer is taken for a whole slice (from Linux 6.18 on, sched_yield also
// forfeits ours), and a thread that went on offering would keep a fifth of its share. So what offers longer than kMoment
// took is written down, one part in kParts of all time is forgiven, and beyond kMost no offer is made: such a program gets 5 %
// more than its share, while the moments of a server's own threads stay far below that.
#pragma once
#include <algorithm>
#include <chrono>
#include <thread>

namespace iconface {

class GiveWay {
 public:
  /// Called between pieces of work, as often as one likes: mostly it only reads the clock.
  void offer() {
    const Clock::time_point begun = Clock::now();
    if (begun < next_) return;
    std::this_thread::yield();
    const Clock::time_point back = Clock::now();
    taken_ = std::max(taken_ - (begun - last_) / kParts, Clock::duration::zero());
    if (back - begun > kMoment) taken_ += back - begun;
    last_ = back;
    next_ = back + std::max(kParts * (taken_ - kMost), kOften);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::duration kOften = std::chrono::microseconds(100), kMoment = std::chrono::microseconds(500),
                                   kMost = std::chrono::milliseconds(20);
  static constexpr int kParts = 20;
  Clock::duration taken_{};
  Clock::time_point last_{}, next_{};
};

}  // namespace iconface
