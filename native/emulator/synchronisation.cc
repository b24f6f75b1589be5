// How the threads of a cluster wait for each other, and which of their accesses that orders (cluster.h): barriers,
// mbarriers and warp collectives.
#include <algorithm>
#include <bit>
#include <numeric>

#include "emulator/cluster.h"
#include "emulator/format.h"

namespace iconface::emulator {

// ---- barriers and collectives
// ---------------------------------------------------------------------------------------------

void Cluster::barrier(const void* caller) {
  Thread& t = threads_[static_cast<size_t>(running_)];
  const int first = running_ / kWarp * kWarp;
  for (int i = first; i < std::min(first + kWarp, total_); i++) {
    const Thread& other = threads_[static_cast<size_t>(i)];
    if (other.state == State::AtBarrier && other.caller != caller)
      report("barrier divergence: it is at one __syncthreads, " + place(i) + " of its warp at another" +
                 caller_text(other.caller),
             caller);
  }
  t.state = State::AtBarrier;
  t.what = "__syncthreads";
  t.caller = caller;
  if (++block().at_barrier == count_) release_barrier();
  pause();
}

void Cluster::release_barrier() {
  block().at_barrier = 0;
  std::vector<int> threads(static_cast<size_t>(count_));
  std::iota(threads.begin(), threads.end(), rank_ * count_);
  if (blocks_.size() == 1)
    barrier_time_ = ++now_;  // as join would, for little
  else
    join(threads);
  for (int i : threads) {
    threads_[static_cast<size_t>(i)].state = State::Ready;
    ready_.push_back(i);
  }
}

/// Threads that have ended are not waited for.
void Cluster::cluster_barrier(const void* caller) {
  Thread& t = threads_[static_cast<size_t>(running_)];
  t.state = State::AtClusterBarrier;
  t.what = "cluster_sync";
  t.caller = caller;
  if (++at_cluster_barrier_ + ended_ == total_) release_cluster_barrier();
  pause();
}

void Cluster::release_cluster_barrier() {
  at_cluster_barrier_ = 0;
  barrier_time_ = ++now_;
  for (int i = 0; i < total_; i++) {
    if (threads_[static_cast<size_t>(i)].state != State::AtClusterBarrier) continue;
    threads_[static_cast<size_t>(i)].state = State::Ready;
    ready_.push_back(i);
  }
}

void Cluster::named_barrier(int id, int threads, bool wait, const void* caller) {
  if (id < 0 || id >= kNamedBarriers || threads < kWarp || threads % kWarp != 0 || threads > count_)
    report(format("barrier %d for %d threads is impossible", id, threads), caller);
  NamedBarrier& b = block().named[id];
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

void Cluster::mbarrier_init(uint64_t* at, uint32_t arrivals, const void* caller) {
  access(at, sizeof *at, Access::Write, caller);
  Mbarrier b;
  b.arrivals = b.pending = arrivals;
  b.known.assign(static_cast<size_t>(total_), 0);
  mbarriers_[at] = std::move(b);
}

Cluster::Mbarrier& Cluster::mbarrier(uint64_t* at, const void* caller) {
  access_across(at, sizeof *at, Access::Atomic, caller);
  const auto found = mbarriers_.find(at);
  if (found == mbarriers_.end()) report("an mbarrier that was never initialised", caller);
  return found->second;
}

void Cluster::mbarrier_arrive(uint64_t* at, int arrivals, int64_t bytes, const void* caller) {
  Mbarrier& b = mbarrier(at, caller);
  if (arrivals > 0 && b.pending == 0) report("an mbarrier with more arrivals than it was made for", caller);
  const auto self = static_cast<size_t>(running_), n = static_cast<size_t>(total_);
  for (size_t i = 0; i < n; i++) b.known[i] = std::max(b.known[i], known_[self * n + i]);
  b.known[self] = ++now_;
  b.pending -= static_cast<uint32_t>(arrivals);
  b.bytes += bytes;
  if (b.pending != 0 || b.bytes != 0) return;
  b.phase++;
  b.pending = b.arrivals;
  for (int i = 0; i < total_; i++) {
    Thread& t = threads_[static_cast<size_t>(i)];
    if (t.state != State::AtMbarrier || t.mbarrier != at) continue;
    t.state = State::Ready;
    ready_.push_back(i);
  }
}

void Cluster::mbarrier_wait(uint64_t* at, uint32_t parity, const void* caller) {
  while ((mbarrier(at, caller).phase & 1) == parity) {
    Thread& t = threads_[static_cast<size_t>(running_)];
    t.state = State::AtMbarrier;
    t.what = "an mbarrier";
    t.caller = caller;
    t.mbarrier = at;
    pause();
  }
  const Mbarrier& b = mbarriers_[at];
  const auto self = static_cast<size_t>(running_), n = static_cast<size_t>(total_);
  for (size_t i = 0; i < n; i++)
    if (i != self) known_[self * n + i] = std::max(known_[self * n + i], b.known[i]);
}

/// All of these threads know from now on what any of them knew and did.
void Cluster::join(const std::vector<int>& threads) {
  const uint32_t time = ++now_;
  const auto n = static_cast<size_t>(total_);
  std::vector<uint32_t> all(n, 0);
  for (int t : threads)
    for (size_t i = 0; i < n; i++) all[i] = std::max(all[i], known_[static_cast<size_t>(t) * n + i]);
  for (int t : threads) all[static_cast<size_t>(t)] = time;
  for (int t : threads) std::copy(all.begin(), all.end(), known_.begin() + static_cast<ptrdiff_t>(t * n));
}

void Cluster::sync_warp(unsigned mask, const void* caller) {
  static const Collective kSync = {"__syncwarp",
                                   [](Cluster& b, unsigned lanes, const void* const(&)[kWarp], void* const(&)[kWarp]) {
                                     std::vector<int> threads;
                                     for (int i = 0; i < kWarp; i++)
                                       if (lanes >> i & 1) threads.push_back(b.running_ / kWarp * kWarp + i);
                                     b.join(threads);
                                   }};
  collective(kSync, mask, nullptr, nullptr, caller);
}

void Cluster::collective(const Collective& what, unsigned mask, const void* in, void* out, const void* caller) {
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

  // The last warp of a block whose size is no multiple of 32: lanes that never were are not waited for.
  if (total_ - first < kWarp) mask &= (1u << (total_ - first)) - 1;
  Warp& warp = warps_[static_cast<size_t>(self / kWarp)];
  warp.in_collective |= 1u << (self - first);
  if (const unsigned ended = mask & warp.ended; ended != 0)
    report(format("%s waits for lane %d, which has ended", what.name, std::countr_zero(ended)), caller);
  if ((mask & ~warp.in_collective) != 0) return pause();  // the last lane does the rest

  for (int i = 0; i < kWarp; i++) {
    if ((mask >> i & 1) == 0) continue;
    const Thread& other = threads_[static_cast<size_t>(first + i)];
    if (other.collective != &what || other.mask != t.mask)
      report(format("warp divergence: %s with mask 0x%08x, while lane %d is in %s with mask 0x%08x", what.name, t.mask,
                    i, other.collective->name, other.mask),
             caller);
  }
  warp.in_collective &= ~mask;
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
