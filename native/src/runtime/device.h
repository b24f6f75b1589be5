// Device: a GPU's memory and its queue of work (a CUDA stream). The CPU is no Device: a null Device* means that
// memory is the process's own and that an operation is done when it returns.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace iconface {

struct Backend;

/// Work that was captured instead of done (a CUDA graph). It holds the addresses of its tensors.
class CapturedGraph {
 public:
  virtual ~CapturedGraph() = default;
  /// Queues the work.
  virtual void replay() = 0;
};

class Device {
 public:
  Device(std::string name, std::string description, const Backend& backend)
      : name(std::move(name)), description(std::move(description)), backend(backend) {}
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string name;         // "cuda:0", "cuda-emulated"
  const std::string description;  // "NVIDIA H200, sm_90"
  const Backend& backend;

  /// Memory of this device, contents undefined, aligned to 256 bytes; nullptr when so much is not free. Only work
  /// queued after this call may use it.
  virtual void* allocate(int64_t bytes) = 0;
  /// Work queued before this call may still use the memory. It is kept for later allocations until trim().
  virtual void free(void* memory) noexcept = 0;
  /// Waits for all queued work and returns free memory to the system.
  virtual void trim() noexcept = 0;
  /// Bytes that may still be allocated.
  virtual int64_t available() = 0;

  /// Queues a copy of `from`, which may be changed as soon as this returns.
  virtual void upload(void* to, const void* from, int64_t bytes) = 0;
  /// Waits for all work queued before it, then copies.
  virtual void download(void* to, const void* from, int64_t bytes) = 0;
  /// Queues a copy within the device.
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  /// Waits for all queued work; throws the error of any of it.
  virtual void synchronize() = 0;

  /// A place in the queue (a CUDA event), reached when all work queued before it is done.
  class Mark {
   public:
    virtual ~Mark() = default;
  };
  virtual std::unique_ptr<Mark> mark() = 0;
  /// Seconds between two marks by the device's own clock; waits for the later one.
  virtual double seconds(const Mark& from, const Mark& to) = 0;
  /// Whether it has products of e4m3 numbers.
  virtual bool has_e4m3() const = 0;
  /// Bytes of the L2 cache.
  virtual int64_t cache_bytes() const = 0;
  /// Captures what `queue` queues; nothing of it is done yet. `queue` may not wait, allocate, upload or download.
  virtual std::unique_ptr<CapturedGraph> capture(const std::function<void()>& queue) = 0;
};

/// A device by the name users give: "cuda", "cuda:1", "cuda-emulated"; nullptr for "cpu".
/// @throws DeviceUnavailable (no driver, an old one, no such device, another architecture, not in this build)
std::unique_ptr<Device> open_device(const std::string& name);

}  // namespace iconface
