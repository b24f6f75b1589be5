// Repeated: work that is queued several times with the same tensors, recorded the first time where the device can.
#pragma once
#include <functional>
#include <memory>

#include "runtime/context.h"
#include "runtime/device.h"

namespace iconface {

/// One denoising step is some hundred operations, each of which checks its shapes, plans its launch and is queued alone.
/// On a device the first run records them (a CUDA graph) and the others queue the record: the host's part of a step is
/// paid once. On the processor, while planning, and under a trace every run calls `work`.
class Repeated {
 public:
  /// `work` will be run `times` times. It may neither wait for the device nor bring anything there from the host.
  Repeated(Context& ctx, int times, std::function<void()> work) : ctx_(ctx), times_(times), work_(std::move(work)) {}

  void run() {
    if (ctx_.device == nullptr || ctx_.planning() || ctx_.trace != nullptr || times_ < 2) return work_();
    if (!recording_) recording_ = ctx_.device->record(work_);
    recording_->play();
  }

 private:
  Context& ctx_;
  int times_;
  std::function<void()> work_;
  std::unique_ptr<Recording> recording_;
};

}  // namespace iconface
