// Device: an accelerator's memory and its queue of work. The processor is no Device: where one may be absent (nullptr),
// memory is the process's own and operations are done when they return.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace iconface {

struct Backend;

/// Work that was queued on a device and can be queued again, with the same memory.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void play() = 0;
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

  /// Memory of this device, contents undefined, aligned to 256 bytes; nullptr when there is not so much. Work queued
  /// from now on may use it.
  virtual void* allocate(int64_t bytes) = 0;
  /// Work queued before this may still use it. What is freed is kept for later allocations until trim().
  virtual void free(void* memory) noexcept = 0;
  /// Waits for all work and gives back to the system what is free.
  virtual void trim() noexcept = 0;
  /// Bytes that may still be allocated.
  virtual int64_t available() = 0;

  /// Queues a copy of `from`, which may be changed as soon as this returns.
  virtual void upload(void* to, const void* from, int64_t bytes) = 0;
  /// Waits for all work before it, then copies.
  virtual void download(void* to, const void* from, int64_t bytes) = 0;
  /// Queues a copy within the device.
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  /// Waits for all work; throws what went wrong in it.
  virtual void synchronize() = 0;

  /// A place in the queue of work, reached when all that was queued before it is done.
  class Mark {
   public:
    virtual ~Mark() = default;
  };
  virtual std::unique_ptr<Mark> mark() = 0;
  /// Seconds between two marks of this device by its own clock; waits for the later one.
  virtual double seconds(const Mark& from, const Mark& to) = 0;
  /// Whether it multiplies e4m3.
  virtual bool has_e4m3() const = 0;
  /// Bytes of the cache before its memory.
  virtual int64_t cache_bytes() const = 0;
  /// Keeps what `queue` queues instead of doing it. It may not wait, allocate, upload or download.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& queue) = 0;
};

/// A device by the name users give: "cuda", "cuda:1", "cuda-emulated"; nullptr for "cpu".
/// @throws DeviceUnavailable (no driver, an old one, no such device, another architecture, not in this build)
std::unique_ptr<Device> open_device(const std::string& name);

}  // namespace iconface
