// Context: what an operation needs besides its tensors.
#pragma once
#include <atomic>

#include "runtime/memory.h"
#include "runtime/thread_pool.h"

namespace iconface {

struct Backend;  // op/backend.h: the operations of one device

struct Context {
  const Backend& backend;
  ThreadPool& pool;
  Workspace& workspace;
  const std::atomic<bool>* cancelled = nullptr;

  /// True while a forward pass only measures its memory: operations check shapes, take their scratch and return.
  bool planning() const { return workspace.planning(); }
  /// Throws Aborted once the caller has cancelled. Networks call it in every block.
  void check_cancelled() const;
};

}  // namespace iconface
