// Threads under stress, for ThreadSanitizer (scripts/sanitize.sh threads): the pool's sums are right for any number of
// items and workers, and jobs may be submitted, removed and cancelled, and the queue stopped, at any time.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/error.h"
#include "runtime/job_queue.h"
#include "runtime/thread_pool.h"

using namespace iconface;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what);
  std::exit(1);
}

/// Every item is done once, by a worker that exists; the caller sees plain writes afterwards.
void sums(ThreadPool& pool, int64_t items) {
  std::vector<int64_t> done(static_cast<size_t>(items), 0);
  std::atomic<bool> stranger{false};
  parallel_for(pool, items, [&](int64_t item, int worker) {
    done[static_cast<size_t>(item)] += item + 1;
    if (worker < 0 || worker >= pool.workers()) stranger = true;
  });
  for (int64_t item = 0; item < items; item++)
    require(done[static_cast<size_t>(item)] == item + 1, "an item is done once");
  require(!stranger, "workers are numbered");
}

void pools() {
  for (int workers : {1, 2, 3, 8}) {
    ThreadPool pool(workers);
    for (int i = 0; i < 500; i++) sums(pool, i % 37);
  }
  for (int i = 0; i < 100; i++) ThreadPool idle(4);
}

/// Jobs on a pool of their own; every third is taken back, every fifth cancelled, and the queue is stopped midway.
void queues(int round) {
  ThreadPool pool(3);
  JobQueue queue([] {});
  queue.start();
  std::atomic<int> ran{0};
  std::vector<std::shared_ptr<Job>> jobs;
  int removed = 0;
  for (int i = 0; i < 40; i++) {
    auto job = std::make_shared<Job>();
    job->work = [&pool, &ran, raw = job.get()] {
      for (int k = 0; k < 10 && !raw->cancelled; k++) sums(pool, 16);
      ran++;
    };
    queue.submit(job);
    jobs.push_back(job);
    if (i % 3 == 0) removed += queue.remove(jobs[static_cast<size_t>(i / 2)].get());
    if (i % 5 == 0) jobs[static_cast<size_t>(i)]->cancelled = true;
  }
  while (round % 2 == 0 && ran + removed < 40) sched_yield();
  queue.stop();
  queue.stop();
  require(ran + removed <= 40, "no job runs twice");
  bool refused = false;
  try {
    queue.submit(jobs[0]);
  } catch (const Error& e) {
    refused = e.code == Code::Disposed;
  }
  require(refused, "a stopped queue takes nothing");
}

}  // namespace

int main() {
  pools();
  for (int round = 0; round < 60; round++) queues(round);
  std::puts("threads: ok");
}
