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

/// Receives intermediate tensors under the names of the golden files, so that a mismatch is located in minutes.
class Trace {
 public:
  virtual ~Trace() = default;
  virtual void record(Context&, const std::string& name, const Tensor& value) = 0;
};

struct Context {
  const Backend& backend;
  ThreadPool& pool;
  Workspace& workspace;
  Device* device = nullptr;  // null: the processor
  const std::atomic<bool>* cancelled = nullptr;
  Trace* trace = nullptr;
  /// All that the job's recorded work depends on beside its data (runtime/recordings.h); empty: nothing is recorded.
  std::string settings = {};
  Meter* meter = nullptr;  // counts the job's work (runtime/meter.h); null: nobody wants to know

  /// True while a forward pass only measures or takes its memory: operations check shapes, take their scratch and return.
  bool planning() const { return workspace.planning(); }
  /// Throws Aborted once the caller has cancelled. Networks call it in every block.
  void check_cancelled() const;
  /// Shows an intermediate to the trace, if there is one.
  void note(const std::string& name, const Tensor& value) {
    if (trace != nullptr && !planning()) trace->record(*this, name, value);
  }
};

}  // namespace iconface
