#include "emulator/block.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "emulator/format.h"

namespace iconface::emulator {

thread_local Block* Block::current_ = nullptr;

Block::Block() {
  void* p = mmap(nullptr, kMaxShared + 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  shared_ = static_cast<char*>(p);  // page-aligned
}

Block::~Block() { munmap(shared_, kMaxShared + 1024); }

// ---- running ----------------------------------------------------------------------------------------------------------------

std::string Block::run(const Launch& launch, uint3 index) {
  launch_ = &launch;
  index_ = index;
  count_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  stacks_.reserve(static_cast<size_t>(count_));
  threads_.resize(static_cast<size_t>(count_));
  if (cells_.size() < launch.shared_bytes) {
    cells_.resize(launch.shared_bytes);
    readings_.resize(launch.shared_bytes);
  }
  const size_t square = static_cast<size_t>(count_) * static_cast<size_t>(count_);
  // Times only grow, so what earlier blocks left is older than this block and says nothing, unless threads are numbered
  // in rows of another length now.
  if (known_.size() != square) known_.assign(square, 0);
  if (now_ > 0x7fffffff) {
    now_ = 0;
    std::fill(cells_.begin(), cells_.end(), Cell{});
    std::fill(known_.begin(), known_.end(), 0);
  }
  block_start_ = barrier_time_ = ++now_;
  last_hit_ = {};
  running_ = ended_ = at_barrier_ = 0;
  failed_ = false;
  report_.clear();
  ready_.clear();
  for (NamedBarrier& b : named_) b = {};
  mbarriers_.clear();
  const uint64_t place = index.x + 1000003ull * index.y + 998244353ull * index.z;
  random_ = (launch.seed * 0x9e3779b97f4a7c15ull) ^ (place + 0x2545f4914f6cdd1dull);
  for (int i = 0; i < count_; i++) {
    Thread& t = threads_[static_cast<size_t>(i)];
    t.stack = stacks_.fresh(static_cast<size_t>(i), enter);
    t.state = State::Ready;
    t.open_group = 0;
    t.copies.clear();
    ready_.push_back(i);
  }
  Block* const outer = current_;
  current_ = this;
  schedule();
  current_ = outer;
  return report_;
}

void Block::schedule() {
  while (!failed_) {
    if (ready_.empty()) {
      if (ended_ == count_) return;
      stuck();
      return;
    }
    const size_t pick = launch_->seed == 0 ? 0 : next_random() % ready_.size();
    running_ = ready_[pick];
    if (launch_->seed == 0) {
      ready_.erase(ready_.begin());
    } else {
      ready_[pick] = ready_.back();
      ready_.pop_back();
    }
    iconface_switch_stack(&scheduler_, threads_[static_cast<size_t>(running_)].stack);
  }
}

void Block::enter() {
  Block* const block = current_;
  block->launch_->run(block->launch_->arguments);
  Thread& t = block->threads_[static_cast<size_t>(block->running_)];
  t.state = State::Ended;
  block->ended_++;
  block->pause();
  __builtin_unreachable();
}

void Block::pause() { iconface_switch_stack(&threads_[static_cast<size_t>(running_)].stack, scheduler_); }

uint64_t Block::next_random() {  // xorshift64*
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545f4914f6cdd1dull >> 20;
}

uint3 Block::thread_index() const {
  const auto i = static_cast<unsigned>(running_), x = launch_->block.x, y = launch_->block.y;
  return {i % x, i / x % y, i / (x * y)};
}

unsigned Block::active_lanes() const {
  unsigned lanes = 0;
  for (int i = 0; i < kWarp; i++) {
    const int t = running_ / kWarp * kWarp + i;
    if (t < count_ && threads_[static_cast<size_t>(t)].state != State::Ended) lanes |= 1u << i;
  }
  return lanes;
}

// ---- reports ----------------------------------------------------------------------------------------------------------------

std::string Block::place(int thread) const {
  const auto i = static_cast<unsigned>(thread), x = launch_->block.x, y = launch_->block.y;
  return format("thread (%u, %u, %u)", i % x, i / x % y, i / (x * y));
}

/// For `addr2line -e iconface.node`.
std::string Block::caller_text(const void* caller) const {
  Dl_info info{};
  if (caller == nullptr || dladdr(caller, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  return format(" (%s+0x%zx)", path.substr(path.rfind('/') + 1).c_str(),
                static_cast<size_t>(static_cast<const char*>(caller) - static_cast<const char*>(info.dli_fbase)) - 1);
}

void Block::report(const std::string& what, const void* caller) {
  report_ = "kernel " + launch_->kernel + ", " + format("block (%u, %u, %u), ", index_.x, index_.y, index_.z) +
            place(running_) + ": " + what + caller_text(caller);
  failed_ = true;
  pause();  // never to come back: the block's stacks are given up
  __builtin_unreachable();
}

/// Nobody can go on: says who waits where. On the scheduler's stack.
void Block::stuck() {
  const Thread* first = nullptr;
  int waiting = 0;
  for (int i = 0; i < count_; i++) {
    const Thread& t = threads_[static_cast<size_t>(i)];
    if (t.state == State::Ended) continue;
    waiting++;
    if (first != nullptr) continue;
    first = &t;
    running_ = i;
  }
  std::string others;
  for (int i = 0; i < count_ && others.empty(); i++) {
    const Thread& t = threads_[static_cast<size_t>(i)];
    if (t.state == State::Ended)
      others = place(i) + " has ended";
    else if (t.what != first->what || t.caller != first->caller)
      others = place(i) + " waits at " + t.what + caller_text(t.caller);
  }
  const bool barrier = first->state == State::AtBarrier || ended_ > 0;
  report_ = "kernel " + launch_->kernel + ", " + format("block (%u, %u, %u), ", index_.x, index_.y, index_.z) +
            place(running_) + ": " + (barrier ? "barrier divergence" : "deadlock") + ": it waits at " + first->what +
            caller_text(first->caller) +
            (others.empty() ? format(" and so do all %d threads", waiting) : ", while " + others);
  failed_ = true;
}

// ---- barriers and collectives ---------------------------------------------------------------------------------------------

void Block::barrier(const void* caller) {
  Thread& t = threads_[static_cast<size_t>(running_)];
  const int first = running_ / kWarp * kWarp;
  for (int i = first; i < std::min(first + kWarp, count_); i++) {
    const Thread& other = threads_[static_cast<size_t>(i)];
    if (other.state == State::AtBarrier && other.caller != caller)
      report("barrier divergence: it is at one __syncthreads, " + place(i) + " of its warp at another" +
                 caller_text(other.caller),
             caller);
  }
  t.state = State::AtBarrier;
  t.what = "__syncthreads";
  t.caller = caller;
  if (++at_barrier_ == count_) {
    release_barrier();
  }
  pause();
}

void Block::release_barrier() {
  at_barrier_ = 0;
  barrier_time_ = ++now_;
  for (int i = 0; i < count_; i++) {
    threads_[static_cast<size_t>(i)].state = State::Ready;
    ready_.push_back(i);
  }
}

void Block::named_barrier(int id, int threads, bool wait, const void* caller) {
  if (id < 0 || id >= kNamedBarriers || threads < kWarp || threads % kWarp != 0 || threads > count_)
    report(format("barrier %d for %d threads is impossible", id, threads), caller);
  NamedBarrier& b = named_[id];
  if (b.arrived > 0 && b.expected != threads)
    report(format("barrier %d is used for %d and for %d threads at a time", id, b.expected, threads), caller);
  b.expected = threads;
  b.threads.push_back(running_);
  Thread& t = threads_[static_cast<size_t>(running_)];
  if (wait) {
    t.state = State::AtNamedBarrier;
    t.what = "a named barrier";
    t.caller = caller;
    t.barrier = id;
  }
  if (++b.arrived == threads) {
    join(b.threads);
    for (int i : b.threads) {
      Thread& other = threads_[static_cast<size_t>(i)];
      if (other.state == State::AtNamedBarrier && other.barrier == id) {
        other.state = State::Ready;
        ready_.push_back(i);
      }
    }
    b = {};
  }
  if (wait) pause();
}

void Block::mbarrier_init(uint64_t* at, uint32_t arrivals, const void* caller) {
  access(at, sizeof *at, Access::Write, caller);
  Mbarrier b;
  b.arrivals = b.pending = arrivals;
  b.known.assign(static_cast<size_t>(count_), 0);
  mbarriers_[at] = std::move(b);
}

Block::Mbarrier& Block::mbarrier(uint64_t* at, const void* caller) {
  access(at, sizeof *at, Access::Atomic, caller);
  const auto found = mbarriers_.find(at);
  if (found == mbarriers_.end()) report("an mbarrier that was never initialised", caller);
  return found->second;
}

void Block::mbarrier_arrive(uint64_t* at, int arrivals, int64_t bytes, const void* caller) {
  Mbarrier& b = mbarrier(at, caller);
  if (arrivals > 0 && b.pending == 0) report("an mbarrier with more arrivals than it was made for", caller);
  const auto self = static_cast<size_t>(running_), n = static_cast<size_t>(count_);
  for (size_t i = 0; i < n; i++) b.known[i] = std::max(b.known[i], known_[self * n + i]);
  b.known[self] = ++now_;
  b.pending -= static_cast<uint32_t>(arrivals);
  b.bytes += bytes;
  if (b.pending != 0 || b.bytes != 0) return;
  b.phase++;
  b.pending = b.arrivals;
  for (int i = 0; i < count_; i++) {
    Thread& t = threads_[static_cast<size_t>(i)];
    if (t.state != State::AtMbarrier || t.mbarrier != at) continue;
    t.state = State::Ready;
    ready_.push_back(i);
  }
}

void Block::mbarrier_wait(uint64_t* at, uint32_t parity, const void* caller) {
  while ((mbarrier(at, caller).phase & 1) == parity) {
    Thread& t = threads_[static_cast<size_t>(running_)];
    t.state = State::AtMbarrier;
    t.what = "an mbarrier";
    t.caller = caller;
    t.mbarrier = at;
    pause();
  }
  const Mbarrier& b = mbarriers_[at];
  const auto self = static_cast<size_t>(running_), n = static_cast<size_t>(count_);
  for (size_t i = 0; i < n; i++)
    if (i != self) known_[self * n + i] = std::max(known_[self * n + i], b.known[i]);
}

/// All of these threads know from now on what any of them knew and did.
void Block::join(const std::vector<int>& threads) {
  const uint32_t time = ++now_;
  const auto n = static_cast<size_t>(count_);
  std::vector<uint32_t> all(n, 0);
  for (int t : threads)
    for (size_t i = 0; i < n; i++) all[i] = std::max(all[i], known_[static_cast<size_t>(t) * n + i]);
  for (int t : threads) all[static_cast<size_t>(t)] = time;
  for (int t : threads) std::copy(all.begin(), all.end(), known_.begin() + static_cast<ptrdiff_t>(t * n));
}

void Block::sync_warp(unsigned mask, const void* caller) {
  static const Collective kSync = {"__syncwarp",
                                   [](Block& b, unsigned lanes, const void* const(&)[kWarp], void* const(&)[kWarp]) {
                                     std::vector<int> threads;
                                     for (int i = 0; i < kWarp; i++)
                                       if (lanes >> i & 1) threads.push_back(b.running_ / kWarp * kWarp + i);
                                     b.join(threads);
                                   }};
  collective(kSync, mask, nullptr, nullptr, caller);
}

void Block::collective(const Collective& what, unsigned mask, const void* in, void* out, const void* caller) {
  const int first = running_ / kWarp * kWarp, self = running_;
  if ((mask >> (self - first) & 1) == 0)
    report(format("%s with mask 0x%08x, which does not hold its lane %d", what.name, mask, self - first), caller);
  Thread& t = threads_[static_cast<size_t>(self)];
  t.state = State::InCollective;
  t.what = what.name;
  t.caller = caller;
  t.mask = mask;
  t.collective = &what;
  t.in = in;
  t.out = out;

  bool complete = true;
  for (int i = 0; i < kWarp; i++) {
    if ((mask >> i & 1) == 0) continue;
    if (first + i >= count_) {
      // The last warp of a block whose size is no multiple of 32: lanes that never were are not waited for.
      mask &= ~(1u << i);
      continue;
    }
    const Thread& other = threads_[static_cast<size_t>(first + i)];
    if (other.state == State::Ended) report(format("%s waits for lane %d, which has ended", what.name, i), caller);
    if (other.state != State::InCollective) {
      complete = false;
      continue;
    }
    if (other.collective != &what || other.mask != t.mask)
      report(format("warp divergence: %s with mask 0x%08x, while lane %d is in %s with mask 0x%08x", what.name, t.mask,
                    i, other.collective->name, other.mask),
             caller);
  }
  if (!complete) {
    pause();
    return;
  }
  const void* ins[kWarp] = {};
  void* outs[kWarp] = {};
  for (int i = 0; i < kWarp; i++) {
    if ((mask >> i & 1) == 0) continue;
    ins[i] = threads_[static_cast<size_t>(first + i)].in;
    outs[i] = threads_[static_cast<size_t>(first + i)].out;
  }
  what.combine(*this, mask, ins, outs);
  running_ = self;
  for (int i = 0; i < kWarp; i++) {
    if ((mask >> i & 1) == 0) continue;
    threads_[static_cast<size_t>(first + i)].state = State::Ready;
    if (first + i != self) ready_.push_back(first + i);
  }
}

}  // namespace iconface::emulator
