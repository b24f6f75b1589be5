#include "emulator/launch.h"

#include <memory>
#include <mutex>
#include <new>

#include "base/error.h"
#include "emulator/cluster.h"
#include "emulator/format.h"
#include "emulator/runtime_api.h"

namespace iconface::emulator {

std::string run(ThreadPool& pool, const Launch& launch) {
  const uint64_t threads = static_cast<uint64_t>(launch.block.x) * launch.block.y * launch.block.z;
  if (threads == 0 || threads > Cluster::kMaxThreads || launch.block.z > 64 ||
      launch.shared_bytes > Cluster::kMaxShared || launch.grid.y > 65535 || launch.grid.z > 65535 ||
      launch.grid.x > 0x7fffffff)
    return format(
        "kernel %s: a grid of %u x %u x %u blocks of %u x %u x %u threads with %zu bytes of shared memory is "
        "impossible",
        launch.kernel.c_str(), launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x, launch.block.y,
        launch.block.z, launch.shared_bytes);
  if (launch.cluster == 0 || launch.cluster > Cluster::kMaxBlocks || launch.grid.x % launch.cluster != 0)
    return format("kernel %s: a grid of %u x %u x %u blocks is not to be had in clusters of %u x 1 x 1",
                  launch.kernel.c_str(), launch.grid.x, launch.grid.y, launch.grid.z, launch.cluster);
  if (launch.cluster > 1 && threads % Cluster::kWarp != 0)
    return format("kernel %s: the emulator runs clusters of whole warps only, and a block has %zu threads",
                  launch.kernel.c_str(), static_cast<size_t>(threads));
  const uint64_t across = launch.grid.x / launch.cluster;
  const auto clusters = static_cast<int64_t>(across * launch.grid.y * launch.grid.z);
  std::mutex mutex;
  std::string first;
  int64_t first_cluster = clusters;
  parallel_for(pool, clusters, [&](int64_t i, int) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (i > first_cluster) return;
    }
    std::string report;
    try {
      static thread_local std::unique_ptr<Cluster> cluster;
      if (!cluster) cluster = std::make_unique<Cluster>();
      const auto n = static_cast<uint64_t>(i);
      report = cluster->run(launch, {static_cast<unsigned>(n % across * launch.cluster),
                                     static_cast<unsigned>(n / across % launch.grid.y),
                                     static_cast<unsigned>(n / across / launch.grid.y)});
    } catch (const std::bad_alloc&) {
      report = "the emulator is out of memory";
    }
    if (report.empty()) return;
    const std::lock_guard<std::mutex> lock(mutex);
    if (i < first_cluster) first_cluster = i, first = report;
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
