#include "emulator/runtime_api.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "runtime/machine.h"

namespace iconface::emulator {

struct Graph {
  std::vector<std::function<void()>> nodes;
};
struct GraphExec : Graph {};
struct Stream {
  Graph* captured = nullptr;
};
struct MemPool {};
struct Event {
  std::chrono::steady_clock::time_point time;
};

namespace {

std::mutex g_mutex;
std::shared_ptr<const Allocations> g_memory = std::make_shared<Allocations>();
std::atomic<int64_t> g_fail_in{0};
constexpr size_t kAlignment = 256, kPage = 4096;

thread_local bool t_capturing = false;

bool made_to_fail() { return g_fail_in.load() > 0 && g_fail_in.fetch_sub(1) == 1; }

/// Changes the list of allocations; launches keep the one they began with.
template <class Change>
void change_memory(Change change) {
  auto next = std::make_shared<Allocations>(*g_memory);
  change(*next);
  g_memory = std::move(next);
}

/// Bytes of device memory: ICONFACE_EMULATOR_MEMORY, else what the process may have.
int64_t total_bytes() {
  const char* text = getenv("ICONFACE_EMULATOR_MEMORY");
  return text == nullptr ? memory_info().limit : strtoll(text, nullptr, 10);
}

int64_t held_bytes() {
  int64_t sum = 0;
  for (const Allocation& a : *g_memory) sum += static_cast<int64_t>(a.end - a.begin);
  return sum;
}

size_t rounded(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

void fail_call(int64_t n) { g_fail_in = n; }

std::shared_ptr<const Allocations> allocations() {
  const std::lock_guard<std::mutex> lock(g_mutex);
  return g_memory;
}

uint64_t thread_order_seed() {
  const char* text = getenv("ICONFACE_EMULATOR_SEED");
  return text == nullptr ? 0 : strtoull(text, nullptr, 10);
}

cudaError_t count_launch() { return made_to_fail() ? cudaErrorLaunchFailure : cudaSuccess; }

/// 90, or 80 or 89 when ICONFACE_EMULATOR_ARCH says so: launchers then choose their kernels for older GPUs.
int architecture() {
  const char* text = getenv("ICONFACE_EMULATOR_ARCH");
  const int asked = text == nullptr ? 90 : atoi(text);
  return asked == 80 || asked == 89 ? asked : 90;
}

#define FAILS_WITH(status) \
  if (made_to_fail()) return status
#define REFUSED_IN_CAPTURE \
  if (t_capturing) return cudaErrorStreamCaptureUnsupported

cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDeviceCount(int* count) {
  FAILS_WITH(cudaErrorNoDevice);
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  FAILS_WITH(cudaErrorInsufficientDriver);
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  FAILS_WITH(cudaErrorInvalidValue);
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = architecture() / 10;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = architecture() % 10;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 4;  // few: grids sized by it then loop
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = (architecture() == 90 ? 227 : architecture() == 80 ? 163 : 99) << 10;
      break;
    case cudaDevAttrL2CacheSize:
      *value = 64 << 10;  // small: benchmarks that keep operands out of it stay small
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  FAILS_WITH(cudaErrorLaunchFailure);
  const std::lock_guard<std::mutex> lock(g_mutex);
  const int64_t all = total_bytes();
  *free = static_cast<size_t>(std::clamp<int64_t>(all - held_bytes(), 0, memory_info().available));
  *total = static_cast<size_t>(all);
  return cudaSuccess;
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
  FAILS_WITH(cudaErrorMemoryAllocation);
  if (properties->location.id != 0) return cudaErrorInvalidDevice;
  *pool = new (std::nothrow) MemPool;
  return *pool == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  delete pool;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void*) {
  FAILS_WITH(cudaErrorInvalidValue);
  return attribute == cudaMemPoolAttrReleaseThreshold ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  FAILS_WITH(cudaErrorInvalidValue);
  if (attribute == cudaMemPoolAttrReleaseThreshold) return cudaErrorInvalidValue;
  *static_cast<uint64_t*>(value) = 0;  // kept beside what is used: nothing
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) {
  REFUSED_IN_CAPTURE;
  return cudaSuccess;
}
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t, cudaStream_t) {
  REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorMemoryAllocation);
  const size_t n = std::max<size_t>(bytes, 1);
  const std::lock_guard<std::mutex> lock(g_mutex);
  if (static_cast<int64_t>(n) > total_bytes() - held_bytes()) return cudaErrorMemoryAllocation;
  void* p = mmap(nullptr, rounded(n), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return cudaErrorMemoryAllocation;
  memset(p, 0xff, std::min<size_t>(n, 64 << 20));  // not a number: nobody may count on zeros
  const auto begin = reinterpret_cast<uintptr_t>(p);
  change_memory([&](Allocations& list) {
    const auto at =
        std::upper_bound(list.begin(), list.end(), begin, [](uintptr_t a, const Allocation& x) { return a < x.begin; });
    list.insert(at, {begin, begin + n});
  });
  *pointer = p;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
  if (pointer == nullptr) return cudaSuccess;
  const auto begin = reinterpret_cast<uintptr_t>(pointer);
  const std::lock_guard<std::mutex> lock(g_mutex);
  const auto found =
      std::find_if(g_memory->begin(), g_memory->end(), [&](const Allocation& a) { return a.begin == begin; });
  if (found == g_memory->end()) return cudaErrorInvalidValue;
  const size_t bytes = found->end - found->begin;
  change_memory([&](Allocations& list) {
    list.erase(std::find_if(list.begin(), list.end(), [&](const Allocation& a) { return a.begin == begin; }));
  });
  munmap(pointer, rounded(bytes));
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  FAILS_WITH(cudaErrorMemoryAllocation);
  *pointer = aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFreeHost(void* pointer) {
  free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (kind != cudaMemcpyDeviceToDevice) REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorLaunchFailure);
  do_or_capture(stream, [=] { memmove(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  FAILS_WITH(cudaErrorMemoryAllocation);
  *stream = new (std::nothrow) Stream;
  return *stream == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorLaunchFailure);
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  FAILS_WITH(cudaErrorMemoryAllocation);
  *event = new (std::nothrow) Event;
  return *event == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorLaunchFailure);
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorLaunchFailure);
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  FAILS_WITH(cudaErrorInvalidValue);
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}
void do_or_capture(cudaStream_t stream, std::function<void()> work) {
  stream->captured != nullptr ? stream->captured->nodes.push_back(std::move(work)) : work();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorMemoryAllocation);
  stream->captured = new Graph;
  t_capturing = true;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->captured;
  stream->captured = nullptr;
  t_capturing = false;
  if (!made_to_fail()) return cudaSuccess;
  delete *graph;
  *graph = nullptr;
  return cudaErrorLaunchFailure;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  FAILS_WITH(cudaErrorMemoryAllocation);
  *executable = new GraphExec{*graph};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  REFUSED_IN_CAPTURE;
  FAILS_WITH(cudaErrorLaunchFailure);
  for (const auto& node : executable->nodes) node();
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return cudaSuccess; }

const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorLaunchFailure:
      return "unspecified launch failure";
    default:
      return "invalid argument";
  }
}

}  // namespace iconface::emulator
