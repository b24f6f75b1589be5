#include "cuda/device.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "op/backend.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

extern const Backend backend;

namespace {
// Long enough to hide the start of a copy, short enough to fill one piece while the other is copied.
constexpr int64_t kStagingBytes = 8 << 20;
constexpr int kOldestArchitecture = 80, kOldestRuntime = 13000;

/// Every question to a device can fail, even the first.
CudaDevice::Properties examine(int index) {
  CudaDevice::Properties p;
  p.index = index;
  int count = 0, driver = 0;
  const auto need = [](cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();
    fail(Code::DeviceUnavailable, "the GPU cannot be used: %s: %s", what, cudaGetErrorString(status));
  };
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    fail(Code::DeviceUnavailable, "there is no NVIDIA driver; 580 or newer is needed");
  }
  if (driver < kOldestRuntime)
    fail(Code::DeviceUnavailable,
         "the NVIDIA driver supports CUDA %d.%d, but %d.%d is needed: install driver 580 or newer", driver / 1000,
         driver % 1000 / 10, kOldestRuntime / 1000, kOldestRuntime % 1000 / 10);
  need(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (index >= count)
    fail(Code::DeviceUnavailable, "there is no GPU %d: this machine has %d (0 to %d)", index, count, count - 1);
  const auto attribute = [&](cudaDeviceAttr a) {
    int value = 0;
    need(cudaDeviceGetAttribute(&value, a, index), "cudaDeviceGetAttribute");
    return value;
  };
  p.major = attribute(cudaDevAttrComputeCapabilityMajor);
  p.minor = attribute(cudaDevAttrComputeCapabilityMinor);
  p.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  p.shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  p.cache_bytes = attribute(cudaDevAttrL2CacheSize);
  if (p.major * 10 + p.minor < kOldestArchitecture)
    fail(Code::DeviceUnavailable, "GPU %d has compute capability %d.%d, but 8.0 (Ampere) or later is needed", index,
         p.major, p.minor);
  const std::string architecture = "sm_" + std::to_string(p.major) + std::to_string(p.minor);
#ifdef ICONFACE_CUDA_EMULATED
  p.name = "cuda-emulated";
  p.description = "emulated on the CPU, " + architecture;
#else
  p.name = "cuda:" + std::to_string(index);
  cudaDeviceProp properties;
  need(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  p.description = std::string(properties.name) + ", " + architecture;
#endif
  return p;
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the runtime remembers an error; the next call must not report it again
  if (status == cudaErrorMemoryAllocation)
    fail(Code::OutOfMemory, "%s: the GPU is out of memory; choose a smaller size or fewer references", what);
  if (status == cudaErrorNoKernelImageForDevice)
    fail(Code::DeviceUnavailable, "%s: this build holds no code for this GPU's architecture", what);
  fail(Code::Cuda, "%s: %s; dispose the model and load it again, and look at nvidia-smi if that does not help", what,
       cudaGetErrorString(status));
}

CudaDevice::CudaDevice(const Properties& p)
    : Device(p.name, p.description, ICONFACE_CUDA_TARGET::backend), properties_(p) {
  try {
    check(cudaSetDevice(p.index), "cudaSetDevice");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    open_pool();
    for (Staging& s : staging_) {
      check(cudaHostAlloc(reinterpret_cast<void**>(&s.memory), kStagingBytes, cudaHostAllocDefault), "cudaHostAlloc");
      check(cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming), "cudaEventCreate");
    }
  } catch (...) {
    release();
    throw;
  }
}

/// A pool of this device's own. Allocations and frees take part in the stream's order, so a free does not wait for
/// other models on the same GPU, as cudaFree does. The pool keeps freed memory, so a restore does not ask the driver
/// for it again.
void CudaDevice::open_pool() {
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = properties_.index;
  check(cudaMemPoolCreate(&pool_, &properties), "cudaMemPoolCreate");
  uint64_t kept = UINT64_MAX;  // until it is trimmed
  check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &kept), "cudaMemPoolSetAttribute");
}

CudaDevice::~CudaDevice() { release(); }

/// Results of calls are ignored: nothing can be done about a failure while the device is given up.
void CudaDevice::release() noexcept {
  cudaSetDevice(properties_.index);
  if (stream_ != nullptr) cudaStreamSynchronize(stream_);
  for (Staging& s : staging_) {
    if (s.done != nullptr) cudaEventDestroy(s.done);
    if (s.memory != nullptr) cudaFreeHost(s.memory);
  }
  if (pool_ != nullptr) cudaMemPoolDestroy(pool_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

cudaStream_t CudaDevice::stream() {
  check(cudaSetDevice(properties_.index), "cudaSetDevice");
  return stream_;
}

void* CudaDevice::allocate(int64_t bytes) {
  const cudaStream_t queue = stream();
  void* memory = nullptr;
  cudaError_t status = cudaMallocFromPoolAsync(&memory, static_cast<size_t>(bytes), pool_, queue);
  if (status == cudaErrorMemoryAllocation && kept() > 0) {  // the pool may hold pieces that are too small
    cudaGetLastError();
    trim();
    status = cudaMallocFromPoolAsync(&memory, static_cast<size_t>(bytes), pool_, queue);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "cudaMallocFromPoolAsync");
  return memory;
}

void CudaDevice::free(void* memory) noexcept {
  cudaSetDevice(properties_.index);
  cudaFreeAsync(memory, stream_);
}

int64_t CudaDevice::kept() {
  uint64_t reserved = 0, used = 0;
  check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved), "cudaMemPoolGetAttribute");
  check(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &used), "cudaMemPoolGetAttribute");
  return static_cast<int64_t>(reserved - used);
}

int64_t CudaDevice::available() {
  stream();
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<int64_t>(free) + kept();
}

void CudaDevice::trim() noexcept {
  cudaSetDevice(properties_.index);
  cudaStreamSynchronize(stream_);  // a free takes effect when the stream reaches it
  cudaMemPoolTrimTo(pool_, 0);
}

template <class Copy>
void CudaDevice::in_pieces(int64_t bytes, Copy&& copy) {
  for (int64_t at = 0; at < bytes; at += kStagingBytes) {
    Staging& s = staging_[next_];
    next_ = 1 - next_;
    check(cudaEventSynchronize(s.done), "cudaEventSynchronize");
    copy(s, at, static_cast<size_t>(std::min(kStagingBytes, bytes - at)));
  }
}

void CudaDevice::upload(void* to, const void* from, int64_t bytes) {
  const cudaStream_t queue = stream();
  in_pieces(bytes, [&](const Staging& s, int64_t at, size_t n) {
    memcpy(s.memory, static_cast<const char*>(from) + at, n);
    check(cudaMemcpyAsync(static_cast<char*>(to) + at, s.memory, n, cudaMemcpyHostToDevice, queue),
          "cudaMemcpyAsync to the device");
    check(cudaEventRecord(s.done, queue), "cudaEventRecord");
  });
}

void CudaDevice::download(void* to, const void* from, int64_t bytes) {
  const cudaStream_t queue = stream();
  in_pieces(bytes, [&](const Staging& s, int64_t at, size_t n) {
    check(cudaMemcpyAsync(s.memory, static_cast<const char*>(from) + at, n, cudaMemcpyDeviceToHost, queue),
          "cudaMemcpyAsync from the device");
    check(cudaStreamSynchronize(queue), "cudaStreamSynchronize");
    memcpy(static_cast<char*>(to) + at, s.memory, n);
  });
}

void CudaDevice::copy(void* to, const void* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream()),
        "cudaMemcpyAsync within the device");
}

namespace {

class CudaGraph final : public CapturedGraph {
 public:
  explicit CudaGraph(CudaDevice& device) : device_(device) {}
  ~CudaGraph() override {
    if (executable_ != nullptr)
      cudaGraphExecDestroy(executable_);  // takes effect when a launch that still runs has ended
  }
  void replay() override { check(cudaGraphLaunch(executable_, device_.stream()), "cudaGraphLaunch"); }

  void instantiate(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }

 private:
  CudaDevice& device_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

std::unique_ptr<CapturedGraph> CudaDevice::capture(const std::function<void()>& queue) {
  auto captured = std::make_unique<CudaGraph>(*this);
  const cudaStream_t stream = this->stream();
  cudaGraph_t graph = nullptr;
  // Thread-local mode: calls that other models' threads make meanwhile are neither captured nor refused.
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    queue();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  captured->instantiate(graph);
  return captured;
}

void CudaDevice::synchronize() { check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize"); }

namespace {
struct CudaMark final : Device::Mark {
  CudaMark() { check(cudaEventCreateWithFlags(&event, cudaEventDefault), "cudaEventCreate"); }
  ~CudaMark() override { cudaEventDestroy(event); }
  cudaEvent_t event = nullptr;
};
}  // namespace

std::unique_ptr<Device::Mark> CudaDevice::mark() {
  const cudaStream_t queue = stream();
  auto mark = std::make_unique<CudaMark>();
  check(cudaEventRecord(mark->event, queue), "cudaEventRecord");
  return mark;
}

double CudaDevice::seconds(const Mark& from, const Mark& to) {
  const cudaEvent_t end = static_cast<const CudaMark&>(to).event;
  float milliseconds = 0;
  check(cudaEventSynchronize(end), "cudaEventSynchronize");
  check(cudaEventElapsedTime(&milliseconds, static_cast<const CudaMark&>(from).event, end), "cudaEventElapsedTime");
  return 1e-3 * milliseconds;
}

std::unique_ptr<Device> open(int index) { return std::make_unique<CudaDevice>(examine(index)); }

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
