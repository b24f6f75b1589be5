// run_kernel: the emulator's kernel launch. The context's threads share the clusters of blocks (mostly of one block
// each); every CUDA thread of a cluster runs on a stack of its own. A fault that hardware would not report ends the
// launch with an error that names kernel, block, thread and address.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "emulator/cuda.h"
#include "runtime/thread_pool.h"

namespace iconface::emulator {

/// Device memory that is allocated, in order of addresses; unchanging, so that a launch may look at it while others
/// allocate.
struct Allocation {
  uintptr_t begin = 0, end = 0;
};
using Allocations = std::vector<Allocation>;

struct Launch {
  dim3 grid, block;
  unsigned cluster = 1;  // blocks that run together: neighbours in x
  size_t shared_bytes = 0;
  void (*run)(const void* arguments) = nullptr;  // calls the kernel
  const void* arguments = nullptr;
  size_t arguments_bytes = 0;
  std::string kernel;  // for reports: "silu (elementwise.cu:40)"
  std::shared_ptr<const Allocations> memory;
  uint64_t seed = 0;  // of the order of threads
};

/// Runs all blocks; returns the report of the first cluster that did something wrong, or nothing.
std::string run(ThreadPool& pool, const Launch& launch);
/// The same with what device memory there is and the order of threads of the day; throws Cuda with the report.
void run_kernel(ThreadPool& pool, Launch launch);

}  // namespace iconface::emulator
