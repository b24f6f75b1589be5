#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/condition.h"
#include "runtime/give_way.h"

namespace iconface {

namespace {
// A forward pass starts hundreds of short operations: waiting awake for a moment saves a wake-up of some 20 us each.
constexpr int kSpins = 2000;

// Every worker fetches its units in about so many pieces: few enough that rows of a microsecond do not each pay for the
// fetch, so many that nobody waits long for the last piece.
constexpr int64_t kPieces = 256;

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::condition_variable wake, done;
  std::atomic<uint64_t> generation{0};
  std::atomic<bool> stop{false};
  std::atomic<int> busy{0};

  std::atomic<int64_t> next{0};
  int64_t units = 0, piece = 1;
  void (*work)(void*, int64_t, int) = nullptr;
  void* argument = nullptr;

  void set_work(int64_t count, void (*function)(void*, int64_t, int), void* its_argument) {
    units = count;
    piece = std::max<int64_t>(1, count / (kPieces * (static_cast<int64_t>(threads.size()) + 1)));
    work = function;
    argument = its_argument;
    next.store(0, std::memory_order_relaxed);
  }

  void take_units(int worker) {
    thread_local GiveWay give_way;
    for (int64_t first; (first = next.fetch_add(piece, std::memory_order_relaxed)) < units;) {
      for (int64_t unit = first, end = std::min(first + piece, units); unit < end; unit++) work(argument, unit, worker);
      give_way.offer();
    }
  }

  void serve(int worker) {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && generation.load(std::memory_order_acquire) == seen && !stop; i++) pause_cpu();
      if (generation.load(std::memory_order_acquire) == seen && !stop) {
        std::unique_lock lock(mutex);
        wait_until_true(wake, lock, [&] { return generation.load() != seen || stop; });
      }
      if (stop) return;
      seen = generation.load(std::memory_order_acquire);
      take_units(worker);
      if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int workers) : state_(std::make_unique<State>()) {
  for (int i = 1; i < workers; i++) {
    try {
      state_->threads.emplace_back([s = state_.get(), i] { s->serve(i); });
    } catch (const std::exception&) {
      break;  // a process at its thread or memory limit computes with the threads it has
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (std::thread& t : state_->threads) t.join();
}

int ThreadPool::workers() const { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::run(int64_t units, void (*work)(void*, int64_t, int), void* argument) {
  State& s = *state_;
  s.set_work(units, work, argument);
  if (units <= 1 || s.threads.empty()) return s.take_units(0);
  s.busy.store(static_cast<int>(s.threads.size()), std::memory_order_relaxed);
  {
    std::lock_guard lock(s.mutex);
    s.generation.fetch_add(1, std::memory_order_release);
  }
  s.wake.notify_all();
  s.take_units(0);
  for (int i = 0; i < kSpins && s.busy.load(std::memory_order_acquire) != 0; i++) pause_cpu();
  if (s.busy.load(std::memory_order_acquire) != 0) {
    std::unique_lock lock(s.mutex);
    wait_until_true(s.done, lock, [&] { return s.busy.load() == 0; });
  }
}

}  // namespace iconface
