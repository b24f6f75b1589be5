// Runs one kind several times and tells how long every run took.
#pragma once
#include <vector>

#include "binding/call.h"

namespace iconface::binding {

/// Seconds of every run: by the device's clock, or the process's where there is no device; and of all its threads.
struct Times {
  std::vector<double> seconds, cpu_seconds;
};

/// Parameters of every kind: `repeat` (1), the number of runs; `rotate` (0): on a device, no run finds its operands in
/// the cache, and the device never waits for the host between runs (results are then those of several runs in place).
/// @throws what `body` throws, InvalidArgument
Times repeat(Context& ctx, Call& call, Run body);
/// Those parameters are right, and known to be used.
void plan_repetitions(const Call& call);

}  // namespace iconface::binding
