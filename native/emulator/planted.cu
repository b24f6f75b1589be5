// Kernels with one bug each, and the same kernels without it. test/emulator.test.ts runs them by name and expects the
// emulator's report, or none.
#include <functional>
#include <map>
#include <string>

#include "cuda/common/launch.cuh"
#include "cuda/common/ring.cuh"
#include "runtime/device.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr unsigned kAll = 0xffffffffu;
float on_host = 1;  // where no kernel may read

/// Every thread writes its word; its neighbour reads it, with a barrier between unless it was forgotten.
__global__ void neighbour(float* out, int barrier) {
  float* shared = shared_memory<float>();
  const unsigned i = threadIdx.x, next = (i + 1) % blockDim.x;
  shared[i] = 0;
  __syncthreads();
  shared[i] = static_cast<float>(i);
  if (barrier == 1) __syncthreads();
  if (barrier == 2) __syncwarp();
  out[i] = shared[next];
}

/// Reads first, then overwrites what others read.
__global__ void overwrite(float* out, int barrier) {
  float* shared = shared_memory<float>();
  const unsigned i = threadIdx.x;
  shared[i] = 1;
  __syncthreads();
  out[i] = shared[0];
  if (barrier != 0) __syncthreads();
  if (i == 0) shared[0] = 2;
}

/// Words are written whole, their halves by two threads, and both are read whole. Each thread reads the half it wrote
/// itself, or the `other`, which its neighbour writes; and halves are written again, with a barrier since words were
/// read or without.
__global__ void halves(float* out, unsigned other, int barrier) {
  uint32_t* words = shared_memory<uint32_t>();
  uint16_t* parts = shared_memory<uint16_t>();
  const unsigned i = threadIdx.x;
  words[i] = i;
  __syncthreads();
  out[i] = static_cast<float>(words[0]);
  __syncthreads();
  parts[i] = 1;
  out[i] = parts[i ^ other];
  __syncthreads();
  out[i] = static_cast<float>(words[i / 2]);
  if (barrier != 0) __syncthreads();
  parts[i] = 2;
}

__global__ void fill(float* out, int n) { out[threadIdx.x] = static_cast<float>(n); }
__global__ void touch_shared(float* out, int words) {
  float* shared = shared_memory<float>();
  for (int i = static_cast<int>(threadIdx.x); i < words; i += static_cast<int>(blockDim.x)) shared[i] = 0;
  out[threadIdx.x] = 0;
}
__global__ void read_shared(float* out, int written) {
  float* shared = shared_memory<float>();
  if (static_cast<int>(threadIdx.x) < written) shared[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x];
}
__global__ void read_pointer(float* out, const float* from) { out[threadIdx.x] = *from; }

__global__ void half_barrier(float* out, unsigned threads) {
  if (threadIdx.x < threads) __syncthreads();
  out[threadIdx.x] = 0;
}
__global__ void two_barriers(float* out, unsigned threads) {
  if (threadIdx.x < threads)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 0;
}
__global__ void two_collectives(float* out, unsigned threads) {
  float v = 1;
  if (threadIdx.x < threads)
    v = __shfl_xor_sync(kAll, v, 1);
  else
    v = static_cast<float>(__ballot_sync(kAll, 1));
  out[threadIdx.x] = v;
}
__global__ void lanes_left(float* out, unsigned threads) {
  float v = 1;
  if (threadIdx.x < threads) v = __shfl_down_sync(kAll, v, 1);
  out[threadIdx.x] = v;
}
__global__ void crossed(float* out, unsigned threads) {
  if (threadIdx.x < threads) __syncthreads();
  __syncwarp();
  if (threadIdx.x >= threads) __syncthreads();
  out[threadIdx.x] = 0;
}
__global__ void vector_at(float* out, int offset) {
  float4* to = reinterpret_cast<float4*>(out + offset);
  *to = {1, 2, 3, 4};
}
__global__ void copy_ahead(float* out, const float* from, int wait) {
  float* shared = shared_memory<float>();
  cp_async_16(shared + 4 * threadIdx.x, from + 4 * threadIdx.x, true);
  cp_async_commit();
  if (wait != 0) cp_async_wait<0>();
  __syncthreads();
  out[threadIdx.x] = shared[4 * ((threadIdx.x + 1) % blockDim.x)];
}
__global__ void copy_to(float* out, const float* from, int offset) {
  cp_async_16(shared_memory<float>() + offset, from, true);
  cp_async_commit();
  cp_async_wait<0>();
  out[0] = 0;
}
__global__ void matrices(float* out, int written) {
  uint32_t* shared = shared_memory<uint32_t>();
  for (int i = static_cast<int>(threadIdx.x); i < written; i += 32) shared[i] = 0x3f803f80u;  // ones
  __syncthreads();
  uint32_t a[4], b[2];
  ldmatrix_x4(a, shared + 4 * threadIdx.x);
  ldmatrix_x2(b, shared + 4 * (threadIdx.x % 16));
  float d[4] = {};
  mma_m16n8k16_bf16(d, a, b);
  out[threadIdx.x] = d[0];
}

/// Blocks of a cluster that signal one another: every block arrives at the barrier of block `to` from its own on.
struct Signals {
  bool begin_together = true, wait = false, end_together = true;
  uint32_t to = 1;
};
__global__ void signals(float* out, Signals s) {
  uint64_t* const barrier = shared_memory<uint64_t>();
  if (threadIdx.x == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
  }
  if (s.begin_together)
    cluster_sync();
  else
    __syncthreads();
  if (threadIdx.x == 0) mbarrier_arrive_in(barrier, cluster_rank() ^ s.to);
  if (threadIdx.x == 0 && s.wait) wait_for(barrier, 0);
  out[threadIdx.x] = 0;
  if (s.end_together) cluster_sync();
}

/// Two copies to both blocks of a cluster, the second to the place of the first: the first block's thread 0 makes
/// them, when the readers of `releasing` blocks have released the place; every block's second warp reads them.
__global__ void copies(float* out, const TensorMap map, uint32_t releasing) {
  char* const stage = shared_memory<char>();
  uint64_t* const full = reinterpret_cast<uint64_t*>(stage + 1024);
  uint64_t* const empty = full + 2;
  const uint32_t rank = cluster_rank(), warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; i++) mbarrier_init(full + i, 1);
    mbarrier_init(empty, releasing);
    fence_mbarrier_init();
  }
  cluster_sync();
  for (int i = 0; i < 2; i++) {
    if (threadIdx.x == 0) {
      mbarrier_arrive_expect_tx(full + i, 1024);
      if (rank == 0 && i == 1) wait_for(empty, 0);
      if (rank == 0) tma_load_3d_multicast(stage, &map, full + i, 0, 0, 0, 3);
    } else if (warp == 1) {
      wait_for(full + i, 0);
      out[rank * 32 + threadIdx.x % 32] = reinterpret_cast<const float*>(stage)[threadIdx.x];
      __syncwarp();
      if (threadIdx.x == 32 && i == 0 && rank < releasing) mbarrier_arrive_in(empty, 0);
    }
  }
  cluster_sync();
}

/// A launch's surroundings, without a session.
struct Bench {
  std::unique_ptr<Device> device = open(0);
  ThreadPool pool{1};
  Workspace workspace{Pages()};
  Context ctx{device->backend, pool, workspace, device.get()};
  Pages out{128 * sizeof(float), device.get()}, from{1024 * sizeof(float), device.get()};

  template <class Kernel, class... Arguments>
  void run(Kernel kernel, unsigned threads, Arguments... arguments) {
    launch(ctx, kernel, dim3(2), dim3(threads), 512, reinterpret_cast<float*>(out.data()), arguments...);
    device->synchronize();
  }
  template <class Kernel, class... Arguments>
  void run_pairs(Kernel kernel, unsigned blocks, Arguments... arguments) {
    launch(ctx, kernel, Grid(dim3(blocks), 2), dim3(64), 1024 + 64, reinterpret_cast<float*>(out.data()), arguments...);
    device->synchronize();
  }
  /// 8 rows of 128 bytes.
  TensorMap map() {
    TensorMap map;
    if (!make_tensor_map(&map, from.data(), DType::BF16, {64, 8, 1}, {64, 512}, 8)) fail(Code::Cuda, "no tensor map");
    return map;
  }
};

const std::map<std::string, std::function<void(Bench&)>>& planted() {
  static const std::map<std::string, std::function<void(Bench&)>> kKernels = {
      {"race: write, read", [](Bench& b) { b.run(neighbour, 64, 0); }},
      {"race: warp barrier across warps", [](Bench& b) { b.run(neighbour, 64, 2); }},
      {"race: read, write", [](Bench& b) { b.run(overwrite, 64, 0); }},
      {"outside global", [](Bench& b) { b.run(fill, 129, 0); }},
      {"outside shared", [](Bench& b) { b.run(touch_shared, 64, 129); }},
      {"host pointer", [](Bench& b) { b.run(read_pointer, 32, static_cast<const float*>(&on_host)); }},
      {"null pointer", [](Bench& b) { b.run(read_pointer, 32, static_cast<const float*>(nullptr)); }},
      {"uninitialised shared", [](Bench& b) { b.run(read_shared, 64, 63); }},
      {"uninitialised ldmatrix", [](Bench& b) { b.run(matrices, 32, 127); }},
      {"barrier divergence: threads ended", [](Bench& b) { b.run(half_barrier, 64, 33u); }},
      {"barrier divergence: two barriers", [](Bench& b) { b.run(two_barriers, 64, 16u); }},
      {"warp divergence", [](Bench& b) { b.run(two_collectives, 32, 16u); }},
      {"lanes ended", [](Bench& b) { b.run(lanes_left, 32, 16u); }},
      {"deadlock", [](Bench& b) { b.run(crossed, 64, 16u); }},
      {"misaligned vector", [](Bench& b) { b.run(vector_at, 1, 1); }},
      {"misaligned copy", [](Bench& b) { b.run(copy_to, 1, reinterpret_cast<const float*>(b.from.data()), 2); }},
      {"copy without wait", [](Bench& b) { b.run(copy_ahead, 32, reinterpret_cast<const float*>(b.from.data()), 0); }},
      {"too many threads", [](Bench& b) { b.run(fill, 1025, 0); }},
      {"grid of half a cluster", [](Bench& b) { b.run_pairs(signals, 3, Signals()); }},
      {"signal to no block",
       [](Bench& b) {
         b.run_pairs(signals, 2, Signals{true, false, true, 2});
       }},
      {"signal before the barrier is made",
       [](Bench& b) {
         b.run_pairs(signals, 2, Signals{false, false, true});
       }},
      {"signal to a block that may have ended",
       [](Bench& b) {
         b.run_pairs(signals, 2, Signals{true, false, false});
       }},
      {"copy before the other block has read", [](Bench& b) { b.run_pairs(copies, 2, b.map(), 1u); }},
      {"race: one half of a word", [](Bench& b) { b.run(halves, 64, 1u, 1); }},
      {"race: a word and its half", [](Bench& b) { b.run(halves, 64, 0u, 0); }},
      {"right: halves of a word", [](Bench& b) { b.run(halves, 64, 0u, 1); }},
      {"right: barrier", [](Bench& b) { b.run(neighbour, 64, 1); }},
      {"right: warp barrier within a warp", [](Bench& b) { b.run(neighbour, 32, 2); }},
      {"right: overwrite", [](Bench& b) { b.run(overwrite, 64, 1); }},
      {"right: global", [](Bench& b) { b.run(fill, 128, 0); }},
      {"right: shared", [](Bench& b) { b.run(touch_shared, 64, 128); }},
      {"right: initialised", [](Bench& b) { b.run(read_shared, 64, 64); }},
      {"right: matrices", [](Bench& b) { b.run(matrices, 32, 128); }},
      {"right: all at the barrier", [](Bench& b) { b.run(half_barrier, 64, 64u); }},
      {"right: aligned vector", [](Bench& b) { b.run(vector_at, 1, 4); }},
      {"right: copy and wait",
       [](Bench& b) { b.run(copy_ahead, 32, reinterpret_cast<const float*>(b.from.data()), 1); }},
      {"right: signals between clusters' syncs", [](Bench& b) { b.run_pairs(signals, 4, Signals()); }},
      {"right: signals waited for",
       [](Bench& b) {
         b.run_pairs(signals, 2, Signals{true, true, false});
       }},
      {"right: copies to a cluster", [](Bench& b) { b.run_pairs(copies, 2, b.map(), 2u); }},
  };
  return kKernels;
}

}  // namespace

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET

namespace iconface::emulator {

/// Runs one of them by name. Throws what the emulator reports; InvalidArgument for an unknown name.
void run_planted(const char* name) {
  using namespace iconface::cuda::ICONFACE_CUDA_TARGET;
  const auto found = planted().find(name);
  if (found == planted().end()) fail(Code::InvalidArgument, "there is no planted kernel '%s'", name);
  Bench bench;
  found->second(bench);
}

}  // namespace iconface::emulator
