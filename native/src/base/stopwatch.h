// Stopwatch: wall time, and CPU time of all threads of this process, which other processes do not lengthen.
#pragma once
#include <chrono>
#include <ctime>

namespace iconface {

struct Seconds {
  double wall = 0, cpu = 0;
  Seconds& operator+=(const Seconds& s) { return wall += s.wall, cpu += s.cpu, *this; }
  Seconds operator-(const Seconds& s) const { return {wall - s.wall, cpu - s.cpu}; }
};

class Stopwatch {
 public:
  Seconds read() const { return now() - begin_; }

 private:
  static Seconds now() {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now().time_since_epoch();
    return {wall.count(), static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec)};
  }
  Seconds begin_ = now();
};

}  // namespace iconface
