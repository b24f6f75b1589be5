#include "binding/repeat.h"

namespace iconface::binding {

namespace {

/// Queues so much work that the host is ahead of the device from the first run on: a short kernel would otherwise wait
/// to be launched, and that would be measured. One copy of twice the cache lasts longer than launching one run takes.
class HeadStart {
 public:
  explicit HeadStart(Device& device) : half_(device.cache_bytes()), scratch_(2 * half_ + 1, &device) {
    for (int i = 0; i < kCopies; i++) device.copy(scratch_.data() + half_, scratch_.data(), half_);
  }

 private:
  static constexpr int kCopies = 12;
  const int64_t half_;
  const Pages scratch_;  // until the queue has been worked off
};

Times repeat_on_device(Context& ctx, Call& call, Run body, int64_t runs) {
  Device& device = *ctx.device;
  Times times;
  struct Marks {
    std::unique_ptr<Device::Mark> begin, end;
  };
  std::vector<Marks> marks;
  std::unique_ptr<HeadStart> head_start;
  if (call.flag("rotate")) {
    call.spread(runs);
    head_start = std::make_unique<HeadStart>(device);
  }
  for (int64_t i = 0; i < runs; i++) {
    ctx.check_cancelled();
    Workspace::Frame frame(ctx.workspace);
    const Stopwatch watch;
    call.take_turn(i);
    call.begun = device.mark();
    body(ctx, call);
    marks.push_back({std::move(call.begun), device.mark()});
    times.cpu_seconds.push_back(watch.read().cpu);
  }
  device.synchronize();
  for (const Marks& m : marks) times.seconds.push_back(device.seconds(*m.begin, *m.end));
  return times;
}

}  // namespace

void plan_repetitions(const Call& call) {
  call.size("repeat", 1);
  call.flag("rotate");
}

Times repeat(Context& ctx, Call& call, Run body) {
  const int64_t runs = call.size("repeat", 1);
  if (ctx.device != nullptr) return repeat_on_device(ctx, call, body, runs);
  Times times;
  for (int64_t i = 0; i < runs; i++) {
    ctx.check_cancelled();
    Workspace::Frame frame(ctx.workspace);
    call.copying = {};
    const Stopwatch watch;
    body(ctx, call);
    const Seconds spent = watch.read() - call.copying;
    times.seconds.push_back(spent.wall);
    times.cpu_seconds.push_back(spent.cpu);
  }
  return times;
}

}  // namespace iconface::binding
