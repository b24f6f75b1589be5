#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "runtime/condition.h"
#include "runtime/start_thread.h"
#include "runtime/yielder.h"

namespace iconface {

namespace {
// A worker waits so many turns of a loop before it sleeps. A forward pass is hundreds of short runs, and each wake-up
// would take some 20 us.
constexpr int kSpins = 2000;

// Every worker fetches its items in about so many pieces: few enough that the fetches cost little where an item takes a
// microsecond, and enough that no worker waits long for another's last piece.
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
  int64_t items = 0, piece = 1;
  void (*work)(void*, int64_t, int) = nullptr;
  void* argument = nullptr;
  Observer* observer = nullptr;
  bool stopped = false;  // by the observer

  void set_work(int64_t count, void (*function)(void*, int64_t, int), void* its_argument) {
    items = count;
    piece = std::max<int64_t>(1, count / (kPieces * (static_cast<int64_t>(threads.size()) + 1)));
    work = function;
    argument = its_argument;
    stopped = false;
    next.store(0, std::memory_order_relaxed);
  }

  /// On the caller's thread, between two pieces.
  void show(int64_t handed_out) {
    if (observer == nullptr || stopped) return;
    if (observer->go_on(static_cast<double>(std::min(handed_out, items)) / static_cast<double>(items))) return;
    stopped = true;
    next.store(items, std::memory_order_relaxed);  // nothing is left to fetch
  }

  void take_items(int worker) {
    thread_local Yielder yielder;
    for (int64_t first; (first = next.fetch_add(piece, std::memory_order_relaxed)) < items;) {
      for (int64_t item = first, end = std::min(first + piece, items); item < end; item++) work(argument, item, worker);
      yielder.yield_if_due();
      if (worker == 0) show(next.load(std::memory_order_relaxed));
    }
  }

  void end() {
    {
      std::lock_guard lock(mutex);
      stop = true;
    }
    wake.notify_all();
    for (std::thread& t : threads) t.join();
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
      take_items(worker);
      if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int workers) : state_(std::make_unique<State>()) {
  try {
    state_->threads.reserve(static_cast<size_t>(workers) - 1);
    for (int i = 1; i < workers; i++) {
      const std::string what = "thread " + std::to_string(i + 1) + " of " + std::to_string(workers);
      state_->threads.push_back(start_thread(what, [s = state_.get(), i] { s->serve(i); }));
    }
  } catch (...) {
    state_->end();
    throw;
  }
}

ThreadPool::~ThreadPool() { state_->end(); }

void ThreadPool::watch(Observer* observer) { state_->observer = observer; }

int ThreadPool::workers() const { return static_cast<int>(state_->threads.size()) + 1; }

void ThreadPool::run(int64_t items, void (*work)(void*, int64_t, int), void* argument) {
  State& s = *state_;
  s.set_work(items, work, argument);
  if (items <= 1 || s.threads.empty()) {
    s.take_items(0);
  } else {
    share(s);
  }
  if (s.stopped) fail(Code::Aborted, "the job was cancelled");
}

void ThreadPool::share(State& s) {
  s.busy.store(static_cast<int>(s.threads.size()), std::memory_order_relaxed);
  {
    std::lock_guard lock(s.mutex);
    s.generation.fetch_add(1, std::memory_order_release);
  }
  s.wake.notify_all();
  s.take_items(0);
  for (int i = 0; i < kSpins && s.busy.load(std::memory_order_acquire) != 0; i++) pause_cpu();
  if (s.busy.load(std::memory_order_acquire) != 0) {
    std::unique_lock lock(s.mutex);
    wait_until_true(s.done, lock, [&] { return s.busy.load() == 0; });
  }
}

}  // namespace iconface
