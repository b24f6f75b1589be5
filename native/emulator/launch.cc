#include "emulator/launch.h"

#include <memory>
#include <mutex>
#include <new>

#include "emulator/block.h"
#include "emulator/format.h"
#include "emulator/runtime_api.h"
#include "runtime/error.h"

namespace iconface::emulator {

std::string run(ThreadPool& pool, const Launch& launch) {
  const uint64_t threads = static_cast<uint64_t>(launch.block.x) * launch.block.y * launch.block.z;
  if (threads == 0 || threads > Block::kMaxThreads || launch.block.z > 64 || launch.shared_bytes > Block::kMaxShared ||
      launch.grid.y > 65535 || launch.grid.z > 65535 || launch.grid.x > 0x7fffffff)
    return format(
        "kernel %s: a grid of %u x %u x %u blocks of %u x %u x %u threads with %zu bytes of shared memory is "
        "impossible",
        launch.kernel.c_str(), launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x, launch.block.y,
        launch.block.z, launch.shared_bytes);
  const int64_t blocks = static_cast<int64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
  std::mutex mutex;
  std::string first;
  int64_t first_block = blocks;
  parallel_for(pool, blocks, [&](int64_t i, int) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (i > first_block) return;
    }
    std::string report;
    try {
      static thread_local std::unique_ptr<Block> block;
      if (!block) block = std::make_unique<Block>();
      const auto n = static_cast<uint64_t>(i);
      report = block->run(
          launch, {static_cast<unsigned>(n % launch.grid.x), static_cast<unsigned>(n / launch.grid.x % launch.grid.y),
                   static_cast<unsigned>(n / launch.grid.x / launch.grid.y)});
    } catch (const std::bad_alloc&) {
      report = "the emulator is out of memory";
    }
    if (report.empty()) return;
    const std::lock_guard<std::mutex> lock(mutex);
    if (i < first_block) first_block = i, first = report;
  });
  return first;
}

void run_kernel(ThreadPool& pool, Launch launch) {
  launch.memory = allocations();
  launch.seed = thread_order_seed();
  const std::string report = run(pool, launch);
  if (!report.empty()) throw Error(Code::Cuda, report);
}

}  // namespace iconface::emulator
