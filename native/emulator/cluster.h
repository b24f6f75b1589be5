// Cluster: the thread blocks of an emulated kernel that run together, nearly always one. It holds their threads
// (fibers), barriers, warp collectives and shared memory, and checks every access.
//
// Order of accesses: time is a counter that every synchronisation increments (a vector clock). An access is stored
// with its thread and time. It happened before what thread u does now if u made it, if a barrier of the whole cluster
// came since, or if known[u][t], the time up to which u is ordered after t, reaches it. __syncwarp, mbarriers and
// barriers of a part of a cluster merge the clocks of their threads. Two accesses to a byte of shared memory, one of
// them a write, are a race unless they are ordered so, in whatever order the fibers ran.
//
// Threads are numbered through the cluster, block after block. A block's shared memory lasts while one of its threads
// does. So what other blocks do to it must have happened before something that one of its own threads did.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulator/fiber.h"
#include "emulator/launch.h"

namespace iconface::emulator {

class Cluster {
 public:
  static constexpr int kMaxThreads = 1024, kWarp = 32, kNamedBarriers = 16;  // of one block
  static constexpr int kMaxBlocks = 8;                                       // what every GPU with clusters allows
  static constexpr size_t kMaxShared = 227 << 10;                            // of one block, sm_90

  enum class Access { Read, Write, Atomic };
  /// What the lanes of a warp do together. `combine` runs once, when all lanes of the mask have come.
  struct Collective {
    const char* name;
    void (*combine)(Cluster&, unsigned mask, const void* const (&in)[kWarp], void* const (&out)[kWarp]);
  };

  Cluster();
  ~Cluster();

  /// The cluster whose thread is running on this OS thread; null outside kernels.
  static Cluster* current() { return current_; }

  /// Runs the blocks of one cluster, `first` and its neighbours in x; returns what was wrong, or nothing.
  std::string run(const Launch& launch, uint3 first);

  // ---- for the running thread
  // -------------------------------------------------------------------------------------------
  void access(const void* at, size_t bytes, Access kind, const void* caller);
  /// The same by an instruction that also reaches the shared memory of the cluster's other blocks.
  void access_across(const void* at, size_t bytes, Access kind, const void* caller);
  /// Where block `rank` of the cluster has what the running thread's block has at `own` (mapa).
  char* counterpart(const void* own, uint32_t rank, const void* caller);
  void barrier(const void* caller);                                        // __syncthreads
  void cluster_barrier(const void* caller);                                // barrier.cluster.arrive and .wait
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
  int warp() const { return running_ % count_ / kWarp; }
  const Launch& launch() const { return *launch_; }
  /// Of the running thread's block: its number in the cluster, its place in the grid, its shared memory.
  int rank() const { return rank_; }
  uint3 index() const { return blocks_[static_cast<size_t>(rank_)].index; }
  char* shared() const { return shared_ + static_cast<size_t>(rank_) * kSharedStride; }
  /// Within a collective: the accesses that follow are those of `lane` of the running warp.
  void act_as_lane(int lane) { running_ = running_ / kWarp * kWarp + lane; }

 private:
  enum class State : uint8_t { Ready, AtBarrier, AtNamedBarrier, AtClusterBarrier, AtMbarrier, InCollective, Ended };
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
  /// Lanes, a bit each.
  struct Warp {
    unsigned in_collective = 0, ended = 0;
  };
  /// What happened last to a word of shared memory (four bytes), or to one byte of a word whose bytes have cells of
  /// their own. Times before the cluster's start mean that nothing happened.
  struct Cell {
    uint32_t written = 0, read = 0;
    uint16_t writer = 0, reader = 0;
  };
  struct Reading {
    int thread;
    uint32_t time;
  };
  static constexpr uint16_t kAtomic = 0x8000, kAsync = 0x4000, kThread = 0x3fff, kSeveral = 0xffff;
  static_assert(kMaxBlocks * kMaxThreads <= kThread);
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
  /// What a thread of another block last did to this one's shared memory.
  struct Visit {
    uint32_t time;
    const void* caller;
  };
  struct Block {
    uint3 index{};
    int ended = 0, at_barrier = 0;
    NamedBarrier named[kNamedBarriers];
    std::map<int, Visit> visits;  // by thread
  };
  static constexpr size_t kSharedStride = kMaxShared + 1024;  // from one block's to the next's

  static void enter();  // where a fiber begins
  void pause();         // back to the scheduler
  void schedule();
  void prepare();  // of the threads, when blocks_ is filled
  void become(int thread) { running_ = thread, rank_ = thread / count_; }
  void end_thread();
  void check_visits();
  void release_barrier();
  void release_cluster_barrier();
  Mbarrier& mbarrier(uint64_t* at, const void* caller);
  void stuck();
  void check_shared(int rank, size_t offset, size_t bytes, Access kind, const void* caller);
  bool happened_before(int thread, uint32_t time) const;
  int unordered_reader(const Cell& cell, const std::vector<Reading>& readings) const;
  void note_reader(Cell& cell, std::vector<Reading>& readings);
  static void keep_latest(std::vector<Reading>& readings);
  /// The number of a byte, through the shared memory of all blocks; words begin where addresses are multiples of four.
  size_t byte_of(int rank, size_t offset) const { return static_cast<size_t>(rank) * shadow_stride() + offset; }
  size_t shadow_stride() const { return (launch_->shared_bytes + 15) / 16 * 16; }
  void split(size_t word);
  bool merge(size_t word);
  template <typename Change>
  void change_cells(const char* at, Change change);  // of 16 aligned bytes of the running thread's block
  void join(const std::vector<int>& threads);
  Block& block() { return blocks_[static_cast<size_t>(rank_)]; }
  std::string block_text(int rank) const;
  std::string place(int thread) const;
  std::string running_place() const;
  std::string caller_text(const void* caller) const;
  uint64_t next_random();

  static thread_local Cluster* current_;

  const Launch* launch_ = nullptr;
  std::vector<Block> blocks_;
  int count_ = 0, total_ = 0;  // threads of a block, of the cluster
  int running_ = 0, rank_ = 0, ended_ = 0, at_cluster_barrier_ = 0;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::deque<int> ready_;
  std::map<const uint64_t*, Mbarrier> mbarriers_;
  void* scheduler_ = nullptr;
  Stacks stacks_;
  uint64_t random_ = 0;
  bool failed_ = false;
  std::string report_;

  char* shared_ = nullptr;  // of block 0; the others' follow
  // Most kernels touch whole words, and a cell for each costs a quarter of cells for their bytes. What touches less
  // splits a word; bytes that cannot be told apart any more are merged again.
  std::vector<Cell> words_, bytes_;
  std::vector<uint8_t> split_;  // by word: whether bytes_ says what happened, and not words_
  /// Of cells that several threads read, since their last epoch; by byte, a word's by its first.
  std::vector<std::vector<Reading>> readings_;
  std::vector<uint32_t> known_;
  uint32_t now_ = 1, start_ = 1, barrier_time_ = 1;  // barrier_time_: of the last barrier of the whole cluster
  Allocation last_hit_;
};

}  // namespace iconface::emulator
