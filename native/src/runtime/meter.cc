#include "runtime/meter.h"

#include <algorithm>
#include <utility>

#include "runtime/context.h"

namespace iconface {

void Meter::begin(const std::string& stage) {
  const auto found = std::find_if(stages_.begin(), stages_.end(), [&](const Stage& s) { return s.name == stage; });
  current_ = static_cast<size_t>(found - stages_.begin());
  if (found == stages_.end()) stages_.push_back({stage});
}

void Meter::start(const std::atomic<bool>* cancelled, std::chrono::milliseconds every, std::function<void()> on_time) {
  running_ = true;
  current_ = 0;
  cancelled_ = cancelled;
  every_ = every;
  on_time_ = std::move(on_time);
  reported();
}

bool Meter::go_on(double part) noexcept {
  if (!running_) return true;
  if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) return false;
  if (operation_ == 0 || !on_time_) return true;
  // grouped_linear begins its portions anew for each product, so a position may be below an earlier one. Progress
  // never falls.
  double& done = stages_[current_].done;
  done = std::max(done, before_ + operation_ * (portion_begin_ + portion_size_ * part));
  if (Clock::now() < next_) return true;
  try {
    on_time_();
  } catch (...) {
    // A report is lost; the work goes on.
  }
  reported();
  return true;
}

Work::Work(Context& ctx, double operations) : meter_(ctx.meter), operations_(operations) {
  if (meter_ == nullptr) return;
  if (!meter_->running_) {
    meter_->plan(operations);
    return;
  }
  meter_->before_ = meter_->stages_[meter_->current_].done;
  meter_->operation_ = operations;
  meter_->portion_begin_ = meter_->portion_size_ = 0;
}

Work::~Work() {
  if (meter_ == nullptr || !meter_->running_) return;
  meter_->stages_[meter_->current_].done = meter_->before_ + operations_;
  meter_->operation_ = 0;
}

Portion::Portion(Context& ctx, int64_t index, int64_t count) : meter_(ctx.meter) {
  if (meter_ == nullptr) return;
  meter_->portion_begin_ = static_cast<double>(index) / static_cast<double>(count);
  meter_->portion_size_ = 1.0 / static_cast<double>(count);
}

Portion::~Portion() {
  if (meter_ == nullptr) return;
  meter_->portion_begin_ += meter_->portion_size_;
  meter_->portion_size_ = 0;
}

}  // namespace iconface
