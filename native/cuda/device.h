// CudaDevice: one GPU (or the emulated one) as the core sees it.
#pragma once
#include "cuda/common/runtime_api.h"
#include "runtime/device.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// Throws what `status` says: OutOfMemory for lack of memory, Cuda for everything else. `what` names the call.
void check(cudaError_t status, const char* what);

class CudaDevice final : public Device {
 public:
  /// What is asked of a device once, before it is used.
  struct Properties {
    int index = 0;
    int major = 0, minor = 0;  // compute capability
    int multiprocessors = 0;
    int shared_bytes = 0;  // of one block, at most
    int cache_bytes = 0;   // L2
    std::string name, description;
  };

  explicit CudaDevice(const Properties&);
  ~CudaDevice() override;

  void* allocate(int64_t bytes) override;
  void free(void* memory) noexcept override;
  int64_t available() override;
  void trim() noexcept override;
  void upload(void* to, const void* from, int64_t bytes) override;
  void download(void* to, const void* from, int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void synchronize() override;
  std::unique_ptr<Mark> mark() override;
  double seconds(const Mark& from, const Mark& to) override;
  int64_t cache_bytes() const override { return properties_.cache_bytes; }
  bool has_e4m3() const override { return architecture() >= 89; }
  std::unique_ptr<CapturedGraph> capture(const std::function<void()>& queue) override;

  /// Makes this the calling thread's device and returns its stream.
  cudaStream_t stream();
  /// 80, 90, ...
  int architecture() const { return properties_.major * 10 + properties_.minor; }
  int multiprocessors() const { return properties_.multiprocessors; }
  int shared_bytes() const { return properties_.shared_bytes; }

 private:
  /// Page-locked memory that copies between the process and the device pass through, in turns.
  struct Staging {
    char* memory = nullptr;
    cudaEvent_t done = nullptr;  // after the last copy from it to the device
  };
  /// Calls `copy(staging, offset, size)` for every piece of `bytes`, each in staging memory that is free.
  template <class Copy>
  void in_pieces(int64_t bytes, Copy&& copy);
  void open_pool();
  /// Bytes of the pool that are not allocated.
  int64_t kept();
  void release() noexcept;

  const Properties properties_;
  cudaStream_t stream_ = nullptr;
  cudaMemPool_t pool_ = nullptr;
  Staging staging_[2];
  int next_ = 0;  // of staging_
};

/// @throws DeviceUnavailable
std::unique_ptr<Device> open(int index);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
