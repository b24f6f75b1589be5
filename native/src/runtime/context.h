// Context: what an operation needs besides its tensors.
#pragma once
#include <atomic>
#include <string>

#include "runtime/memory.h"
#include "runtime/thread_pool.h"

namespace iconface {

struct Backend;  // op/backend.h: the operations of one device

struct Context;
class Meter;

/// Receives intermediate tensors by the names that the golden files give them, so that a mismatch is located in
/// minutes.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void record(Context&, const std::string& name, const Tensor& value) = 0;
};

struct Context {
  const Backend& backend;
  ThreadPool& pool;
  Workspace& workspace;
  Device* device = nullptr;  // null: the CPU
  const std::atomic<bool>* cancelled = nullptr;
  Trace* trace = nullptr;
  /// The key of the job's captured graphs (runtime/graph_cache.h): every option that changes which kernels are queued.
  /// Empty: nothing is captured.
  std::string settings = {};
  Meter* meter = nullptr;  // counts the job's work (runtime/meter.h); null: it is not counted

  /// The same context with another workspace.
  Context in(Workspace& other) const { return {backend, pool, other, device, cancelled, trace, settings, meter}; }
  /// True while a job only takes memory from the workspace: to measure it before the job runs, or in a dry run.
  /// Operations then check their shapes, take their scratch memory and return.
  bool planning() const { return workspace.planning(); }
  /// Throws Aborted once the caller has cancelled. Networks call it in every block.
  void check_cancelled() const;
  /// Hands an intermediate tensor to the trace, if there is one.
  void note(const std::string& name, const Tensor& value) {
    if (trace != nullptr && !planning()) trace->record(*this, name, value);
  }
};

}  // namespace iconface
