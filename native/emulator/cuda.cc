#include "emulator/cuda.h"

#include "emulator/cluster.h"

// Where the kernel calls from: these functions are never inlined into it.
#define CALLER __builtin_return_address(0)

namespace iconface::emulator {

namespace {

constexpr int kWarp = Cluster::kWarp;
using Lanes = const void* const (&)[kWarp];
using Results = void* const (&)[kWarp];

struct Shuffle {
  uint64_t bits;
  int operand, width, kind;
};

int source_lane(const Shuffle& s, int lane) {
  const int first = lane / s.width * s.width, end = first + s.width;
  int from = lane;
  switch (s.kind) {
    case kShuffleIndex:
      from = first + (s.operand & (s.width - 1));
      break;
    case kShuffleUp:
      from = lane - s.operand;
      return from < first ? lane : from;
    case kShuffleDown:
      from = lane + s.operand;
      break;
    default:
      from = lane ^ s.operand;
  }
  return from >= end || from < 0 ? lane : from;
}

template <class T, class Change>
T atomic(T* at, const void* caller, Change change) {
  Cluster& cluster = *Cluster::current();
  if (reinterpret_cast<uintptr_t>(at) % sizeof(T) != 0) cluster.report("misaligned atomic", caller);
  cluster.access(at, sizeof(T), Cluster::Access::Atomic, caller);
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (true) {
    T wanted = change(old);
    if (__atomic_compare_exchange_n(at, &old, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}

}  // namespace

uint3 thread_index() { return Cluster::current()->thread_index(); }
uint3 block_index() { return Cluster::current()->index(); }
dim3 block_size() { return Cluster::current()->launch().block; }
dim3 grid_size() { return Cluster::current()->launch().grid; }
void* shared_memory_start() { return Cluster::current()->shared(); }

void __syncthreads() { Cluster::current()->barrier(CALLER); }
void __syncwarp(unsigned mask) { Cluster::current()->sync_warp(mask, CALLER); }
void __threadfence() {}
void __threadfence_block() {}
unsigned __activemask() { return Cluster::current()->active_lanes(); }

unsigned __ballot_sync(unsigned mask, int predicate) {
  static const Cluster::Collective kBallot = {"__ballot_sync", [](Cluster&, unsigned lanes, Lanes in, Results out) {
                                                unsigned votes = 0;
                                                for (int i = 0; i < kWarp; i++)
                                                  if ((lanes >> i & 1) && *static_cast<const int*>(in[i]) != 0)
                                                    votes |= 1u << i;
                                                for (int i = 0; i < kWarp; i++)
                                                  if (lanes >> i & 1) *static_cast<unsigned*>(out[i]) = votes;
                                              }};
  unsigned votes = 0;
  Cluster::current()->collective(kBallot, mask, &predicate, &votes, CALLER);
  return votes;
}

int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate == 0) == 0; }

uint64_t shuffle(unsigned mask, uint64_t bits, int operand, int width, int kind) {
  static const Cluster::Collective kShuffle = {
      "a shuffle", [](Cluster& cluster, unsigned lanes, Lanes in, Results out) {
        for (int i = 0; i < kWarp; i++) {
          if ((lanes >> i & 1) == 0) continue;
          const int from = source_lane(*static_cast<const Shuffle*>(in[i]), i);
          if ((lanes >> from & 1) == 0) {
            cluster.act_as_lane(i);
            cluster.report("a shuffle from lane " + std::to_string(from) + ", which does not take part", nullptr);
          }
          *static_cast<uint64_t*>(out[i]) = static_cast<const Shuffle*>(in[from])->bits;
        }
      }};
  const Shuffle in{bits, operand, width, kind};
  uint64_t out = 0;
  Cluster::current()->collective(kShuffle, mask, &in, &out, CALLER);
  return out;
}

float atomicAdd(float* at, float value) {
  return same_bits<float>(atomic(reinterpret_cast<uint32_t*>(at), CALLER,
                                 [value](uint32_t old) { return same_bits<uint32_t>(same_bits<float>(old) + value); }));
}
int atomicAdd(int* at, int value) {
  return atomic(at, CALLER, [value](int old) { return old + value; });
}
unsigned atomicAdd(unsigned* at, unsigned value) {
  return atomic(at, CALLER, [value](unsigned old) { return old + value; });
}
int atomicMax(int* at, int value) {
  return atomic(at, CALLER, [value](int old) { return std::max(old, value); });
}
int atomicMin(int* at, int value) {
  return atomic(at, CALLER, [value](int old) { return std::min(old, value); });
}
int atomicOr(int* at, int value) {
  return atomic(at, CALLER, [value](int old) { return old | value; });
}
unsigned atomicOr(unsigned* at, unsigned value) {
  return atomic(at, CALLER, [value](unsigned old) { return old | value; });
}
int atomicExch(int* at, int value) {
  return atomic(at, CALLER, [value](int) { return value; });
}

}  // namespace iconface::emulator
