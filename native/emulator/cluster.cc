#include "emulator/cluster.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "emulator/format.h"

namespace iconface::emulator {

thread_local Cluster* Cluster::current_ = nullptr;

Cluster::Cluster() {
  void* p = mmap(nullptr, kMaxBlocks * kSharedStride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  shared_ = static_cast<char*>(p);  // page-aligned
}

Cluster::~Cluster() { munmap(shared_, kMaxBlocks * kSharedStride); }

// ---- running
// ----------------------------------------------------------------------------------------------------------------

std::string Cluster::run(const Launch& launch, uint3 first) {
  launch_ = &launch;
  count_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  total_ = count_ * static_cast<int>(launch.cluster);
  blocks_.assign(launch.cluster, {});
  for (Block& b : blocks_) b.index = {first.x + static_cast<unsigned>(&b - blocks_.data()), first.y, first.z};
  const uint64_t place = first.x + 1000003ull * first.y + 998244353ull * first.z;
  random_ = (launch.seed * 0x9e3779b97f4a7c15ull) ^ (place + 0x2545f4914f6cdd1dull);
  prepare();
  Cluster* const outer = current_;
  current_ = this;
  schedule();
  current_ = outer;
  return report_;
}

void Cluster::prepare() {
  stacks_.reserve(static_cast<size_t>(total_));
  threads_.resize(static_cast<size_t>(total_));
  const size_t bytes = blocks_.size() * shadow_stride();
  if (bytes_.size() < bytes) {
    words_.resize(bytes / 4);
    bytes_.resize(bytes);
    readings_.resize(bytes);
  }
  split_.assign(bytes / 4, 0);
  const size_t square = static_cast<size_t>(total_) * static_cast<size_t>(total_);
  // Times only grow, so what earlier clusters left is older than this one and says nothing, unless threads are numbered
  // in rows of another length now.
  if (known_.size() != square) known_.assign(square, 0);
  if (now_ > 0x7fffffff) {
    now_ = 0;
    std::fill(words_.begin(), words_.end(), Cell{});
    std::fill(bytes_.begin(), bytes_.end(), Cell{});
    std::fill(known_.begin(), known_.end(), 0);
  }
  start_ = barrier_time_ = ++now_;
  last_hit_ = {};
  running_ = rank_ = ended_ = at_cluster_barrier_ = 0;
  failed_ = false;
  report_.clear();
  ready_.clear();
  warps_.assign(static_cast<size_t>(total_ + kWarp - 1) / kWarp, {});
  mbarriers_.clear();
  for (int i = 0; i < total_; i++) {
    Thread& t = threads_[static_cast<size_t>(i)];
    t.stack = stacks_.fresh(static_cast<size_t>(i), enter);
    t.state = State::Ready;
    t.open_group = 0;
    t.copies.clear();
    ready_.push_back(i);
  }
}

void Cluster::schedule() {
  while (!failed_) {
    if (ready_.empty()) {
      if (ended_ == total_) return;
      stuck();
      return;
    }
    const size_t pick = launch_->seed == 0 ? 0 : next_random() % ready_.size();
    become(ready_[pick]);
    if (launch_->seed == 0) {
      ready_.pop_front();
    } else {
      ready_[pick] = ready_.back();
      ready_.pop_back();
    }
    iconface_switch_stack(&scheduler_, threads_[static_cast<size_t>(running_)].stack);
  }
}

void Cluster::enter() {
  Cluster* const cluster = current_;
  cluster->launch_->run(cluster->launch_->arguments);
  cluster->end_thread();
  cluster->pause();
  __builtin_unreachable();
}

void Cluster::end_thread() {
  if (++block().ended == count_) check_visits();
  threads_[static_cast<size_t>(running_)].state = State::Ended;
  warps_[static_cast<size_t>(running_ / kWarp)].ended |= 1u << lane();
  ended_++;
  if (at_cluster_barrier_ > 0 && at_cluster_barrier_ + ended_ == total_) release_cluster_barrier();
}

/// The running thread is the last of its block: what others did to the block's shared memory must have been known to
/// one of its threads, for whatever was not might as well have come too late.
void Cluster::check_visits() {
  const auto n = static_cast<size_t>(total_), first = static_cast<size_t>(rank_ * count_);
  for (const auto& [thread, visit] : block().visits) {
    bool known = visit.time < barrier_time_;
    for (size_t t = first; t < first + static_cast<size_t>(count_) && !known; t++)
      known = known_[t * n + static_cast<size_t>(thread)] > visit.time;
    if (!known)
      report("its block ends while " + place(thread) + " may still touch its shared memory: a cluster_sync is missing",
             visit.caller);
  }
}

void Cluster::pause() { iconface_switch_stack(&threads_[static_cast<size_t>(running_)].stack, scheduler_); }

uint64_t Cluster::next_random() {  // xorshift64*
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545f4914f6cdd1dull >> 20;
}

uint3 Cluster::thread_index() const {
  const auto i = static_cast<unsigned>(running_ % count_), x = launch_->block.x, y = launch_->block.y;
  return {i % x, i / x % y, i / (x * y)};
}

unsigned Cluster::active_lanes() const {
  unsigned lanes = 0;
  for (int i = 0; i < kWarp; i++) {
    const int t = running_ / kWarp * kWarp + i;
    if (t < total_ && threads_[static_cast<size_t>(t)].state != State::Ended) lanes |= 1u << i;
  }
  return lanes;
}

// ---- reports
// ----------------------------------------------------------------------------------------------------------------

std::string Cluster::block_text(int rank) const {
  const uint3 at = blocks_[static_cast<size_t>(rank)].index;
  return format("block (%u, %u, %u)", at.x, at.y, at.z);
}

/// As the running thread would call it.
std::string Cluster::place(int thread) const {
  const auto i = static_cast<unsigned>(thread % count_), x = launch_->block.x, y = launch_->block.y;
  const std::string text = format("thread (%u, %u, %u)", i % x, i / x % y, i / (x * y));
  return thread / count_ == rank_ ? text : text + " of " + block_text(thread / count_);
}

/// What a report begins with.
std::string Cluster::running_place() const {
  return "kernel " + launch_->kernel + ", " + block_text(rank_) + ", " + place(running_) + ": ";
}

/// For `addr2line -e iconface.node`.
std::string Cluster::caller_text(const void* caller) const {
  Dl_info info{};
  if (caller == nullptr || dladdr(caller, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  return format(" (%s+0x%zx)", path.substr(path.rfind('/') + 1).c_str(),
                static_cast<size_t>(static_cast<const char*>(caller) - static_cast<const char*>(info.dli_fbase)) - 1);
}

void Cluster::report(const std::string& what, const void* caller) {
  report_ = running_place() + what + caller_text(caller);
  failed_ = true;
  pause();  // never to come back: the cluster's stacks are given up
  __builtin_unreachable();
}

/// Nobody can go on: says who waits where. On the scheduler's stack.
void Cluster::stuck() {
  const Thread* first = nullptr;
  int waiting = 0;
  for (int i = 0; i < total_; i++) {
    const Thread& t = threads_[static_cast<size_t>(i)];
    if (t.state == State::Ended) continue;
    waiting++;
    if (first != nullptr) continue;
    first = &t;
    become(i);
  }
  std::string others;
  for (int i = 0; i < total_ && others.empty(); i++) {
    const Thread& t = threads_[static_cast<size_t>(i)];
    if (t.state == State::Ended)
      others = place(i) + " has ended";
    else if (t.what != first->what || t.caller != first->caller)
      others = place(i) + " waits at " + t.what + caller_text(t.caller);
  }
  const bool barrier = first->state == State::AtBarrier || first->state == State::AtClusterBarrier || ended_ > 0;
  report_ = running_place() + (barrier ? "barrier divergence" : "deadlock") + ": it waits at " + first->what +
            caller_text(first->caller) +
            (others.empty() ? format(" and so do all %d threads", waiting) : ", while " + others);
  failed_ = true;
}

}  // namespace iconface::emulator
