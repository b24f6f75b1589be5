// What every kernel file includes: CUDA's language (or the emulator's), dynamic shared memory, and the launch of a
// kernel.
#pragma once
#include <tuple>
#include <utility>

#include "base/error.h"
#include "cuda/device.h"
#include "runtime/context.h"
#ifdef ICONFACE_CUDA_EMULATED
#include "emulator/cuda.h"
#include "emulator/launch.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

#ifdef ICONFACE_CUDA_EMULATED
using namespace iconface::emulator;

/// The block's dynamic shared memory, aligned to 1024 bytes; a kernel lays it out itself. There is no other.
template <class T>
__forceinline__ T* shared_memory() {
  return static_cast<T*>(shared_memory_start());
}
#else
extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];

template <class T>
__device__ __forceinline__ T* shared_memory() {
  return reinterpret_cast<T*>(dynamic_shared_memory);
}
#endif

/// The GPU that a launcher works for.
inline CudaDevice& device_of(const Context& ctx) { return static_cast<CudaDevice&>(*ctx.device); }

/// A context, and the function that calls `launch` with it, which errors name.
struct LaunchSite {
  const Context& context;
  const char *launcher, *file;
  int line;
  LaunchSite(const Context& context, const char* launcher = __builtin_FUNCTION(), const char* file = __builtin_FILE(),
             int line = __builtin_LINE())
      : context(context), launcher(launcher), file(file), line(line) {}
  /// "silu (elementwise.cu:40)"
  std::string text() const {
    const std::string path = file;
    return std::string(launcher) + " (" + path.substr(path.rfind('/') + 1) + ":" + std::to_string(line) + ")";
  }
};

/// The blocks of a launch. cluster > 1 (sm_90): so many neighbours in x run together as a cluster; it divides blocks.x.
struct Grid {
  dim3 blocks;
  unsigned cluster;
  Grid(dim3 blocks, unsigned cluster = 1) : blocks(blocks), cluster(cluster) {}
};

/// Queues kernel<<<grid, block, shared_bytes>>>(arguments...) on the context's device. A grid of no blocks is no
/// launch.
/// @throws Cuda, naming the launcher, when the launch is refused (or, emulated, when the kernel does something wrong)
template <class... Parameters, class... Arguments>
void launch(const LaunchSite& site, void (*kernel)(Parameters...), const Grid& grid, dim3 block, size_t shared_bytes,
            Arguments&&... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  std::tuple<std::decay_t<Parameters>...> values(std::forward<Arguments>(arguments)...);
#ifdef ICONFACE_CUDA_EMULATED
  check(count_launch(), site.text().c_str());
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> values;
  };
  const auto call = std::make_shared<const Call>(Call{kernel, std::move(values)});  // a graph keeps it
  Launch l;
  l.grid = grid.blocks;
  l.cluster = grid.cluster;
  l.block = block;
  l.shared_bytes = shared_bytes;
  l.run = [](const void* p) {
    const Call& c = *static_cast<const Call*>(p);
    std::apply(c.kernel, c.values);
  };
  l.arguments = call.get();
  l.arguments_bytes = sizeof(Call);
  l.kernel = site.text();
  do_or_capture(device_of(site.context).stream(), [call, l, &pool = site.context.pool] { run_kernel(pool, l); });
#else
  const void* function = reinterpret_cast<const void*>(kernel);
  const cudaStream_t stream = device_of(site.context).stream();
  if (shared_bytes > (48 << 10))
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          site.text().c_str());
  const cudaError_t status = std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        cudaLaunchAttribute cluster = {};
        cluster.id = cudaLaunchAttributeClusterDimension;
        cluster.val.clusterDim.x = grid.cluster;
        cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
        cudaLaunchConfig_t config = {};
        config.gridDim = grid.blocks;
        config.blockDim = block;
        config.dynamicSmemBytes = shared_bytes;
        config.stream = stream;
        config.attrs = &cluster;
        config.numAttrs = grid.cluster > 1 ? 1 : 0;
        return cudaLaunchKernelExC(&config, function, pointers);
      },
      values);
  if (status != cudaSuccess) check(status, site.text().c_str());
#endif
}

/// Blocks of `size` that cover `count`.
__host__ __device__ inline int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
