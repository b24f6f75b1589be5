// Block: one thread block of an emulated kernel: its threads (fibers), barriers, warp collectives and shared memory, and
// the checks of every access.
//
// Order of accesses: time is a counter that every synchronisation moves on. An access is remembered with its thread and
// time; it happened before what thread u does now if it was u's own, if a barrier of the whole block came since, or if u
// learnt of it: known[u][t] is the time up to which u knows what t did. __syncwarp and barriers of part of a block join
// what their threads know. Two accesses to a byte of shared memory, one of them a write, that are not so ordered are a race,
// whatever order the fibers happened to run in.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/launch.h"

namespace iconface::emulator {

class Block {
 public:
  static constexpr int kMaxThreads = 1024, kWarp = 32, kNamedBarriers = 16;
  static constexpr size_t kMaxShared = 227 << 10;  // of one block, sm_90

  enum class Access { Read, Write, Atomic };
  /// What the lanes of a warp do together. `combine` runs once, when all lanes of the mask have come.
  struct Collective {
    const char* name;
    void (*combine)(Block&, unsigned mask, const void* const (&in)[kWarp], void* const (&out)[kWarp]);
  };

  Block();
  ~Block();

  /// The block whose thread is running on this OS thread; null outside kernels.
  static Block* current() { return current_; }

  /// Runs one block; returns what was wrong, or nothing.
  std::string run(const Launch& launch, uint3 index);

  // ---- for the running thread -------------------------------------------------------------------------------------------
  void access(const void* at, size_t bytes, Access kind, const void* caller);
  void barrier(const void* caller);                                        // __syncthreads
  void named_barrier(int id, int threads, bool wait, const void* caller);  // bar.sync / bar.arrive
  void collective(const Collective& what, unsigned mask, const void* in, void* out, const void* caller);
  void sync_warp(unsigned mask, const void* caller);
  void copy_async(char* to, const char* from, bool valid, const void* caller);  // 16 bytes
  void commit_copies();
  void wait_copies(int groups_left);
  void mbarrier_init(uint64_t* at, uint32_t arrivals, const void* caller);
  /// One arrival (or none), and `bytes` more (or fewer, when they have come) that the phase waits for.
  void mbarrier_arrive(uint64_t* at, int arrivals, int64_t bytes, const void* caller);
  /// Waits until the phase of this parity is complete.
  void mbarrier_wait(uint64_t* at, uint32_t parity, const void* caller);
  [[noreturn]] void report(const std::string& what, const void* caller);

  uint3 thread_index() const;
  unsigned active_lanes() const;  // of the running thread's warp: those that have not ended
  int lane() const { return running_ % kWarp; }
  int warp() const { return running_ / kWarp; }
  const Launch& launch() const { return *launch_; }
  uint3 index() const { return index_; }
  char* shared() const { return shared_; }
  /// Within a collective: the accesses that follow are those of `lane` of the running warp.
  void act_as_lane(int lane) { running_ = running_ / kWarp * kWarp + lane; }

 private:
  enum class State : uint8_t { Ready, AtBarrier, AtNamedBarrier, AtMbarrier, InCollective, Ended };
  struct Copy {
    char* to;
    char bytes[16];
    int group;
  };
  struct Thread {
    void* stack;
    State state;
    const char* what;    // it waits at
    const void* caller;  // of what it waits at
    unsigned mask;
    int barrier;
    const uint64_t* mbarrier;
    const void* in;
    void* out;
    const Collective* collective;
    int open_group;
    std::vector<Copy> copies;
  };
  /// One byte of shared memory. Times before the block's start mean that nothing happened.
  struct Cell {
    uint32_t written = 0, read = 0;
    uint16_t writer = 0, reader = 0;
  };
  struct Reading {
    int thread;
    uint32_t time;
  };
  static constexpr uint16_t kAtomic = 0x8000, kAsync = 0x4000, kThread = 0x07ff, kSeveral = 0xffff;
  /// An mbarrier, by its address; `known` is what those who arrived knew.
  struct Mbarrier {
    uint32_t arrivals = 0, pending = 0, phase = 0;
    int64_t bytes = 0;
    std::vector<uint32_t> known;
  };
  struct NamedBarrier {
    int arrived = 0, expected = 0;
    std::vector<int> threads;
  };

  static void enter();  // where a fiber begins
  void pause();         // back to the scheduler
  void schedule();
  void release_barrier();
  Mbarrier& mbarrier(uint64_t* at, const void* caller);
  void stuck();
  void check_shared(size_t offset, size_t bytes, Access kind, const void* caller);
  bool happened_before(int thread, uint32_t time) const;
  int unordered_reader(size_t offset) const;
  void note_reader(size_t offset);
  void join(const std::vector<int>& threads);
  std::string place(int thread) const;
  std::string caller_text(const void* caller) const;
  uint64_t next_random();

  static thread_local Block* current_;

  const Launch* launch_ = nullptr;
  uint3 index_{};
  int count_ = 0, running_ = 0, ended_ = 0, at_barrier_ = 0;
  std::vector<Thread> threads_;
  std::vector<int> ready_;
  NamedBarrier named_[kNamedBarriers];
  std::map<const uint64_t*, Mbarrier> mbarriers_;
  void* scheduler_ = nullptr;
  Stacks stacks_;
  uint64_t random_ = 0;
  bool failed_ = false;
  std::string report_;

  char* shared_ = nullptr;
  std::vector<Cell> cells_;
  std::vector<std::vector<Reading>> readings_;  // of bytes that several threads read, since their cell's last epoch
  std::vector<uint32_t> known_;
  uint32_t now_ = 1, block_start_ = 1, barrier_time_ = 1;
  Allocation last_hit_;
};

}  // namespace iconface::emulator
