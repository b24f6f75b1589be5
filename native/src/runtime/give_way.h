// GiveWay: a computing thread offers its processor, now and then, to threads that need it for a moment only.
//
// Linux looks for a waiting thread when one wakes up and then at its tick, every 1 to 4 ms. On a machine whose processors
// all compute, one file read or timer in a hundred just misses its turn and waits for the tick: an offer every kOften
// ends that. Beside another program that computes, an offer is taken for a whole slice (from Linux 6.18 on, sched_yield also
// forfeits ours), and a thread that went on offering would keep a fifth of its share. So an offer that was taken for longer
// than kMoment is followed by kRest times as long without one: that program gets 5 % more than its share.
#pragma once
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
    const Clock::duration away = back - begun;
    next_ = back + (away > kMoment ? kRest * away : kOften);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::duration kOften = std::chrono::microseconds(100), kMoment = std::chrono::microseconds(500);
  static constexpr int kRest = 20;
  Clock::time_point next_{};
};

}  // namespace iconface
