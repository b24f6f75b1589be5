// GraphCache: stages of jobs as captured graphs (CUDA graphs), which the device replays when a stage comes again.
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "runtime/device.h"

namespace iconface {

struct Context;

/// The graphs captured in one working memory. They hold that memory's addresses, so both live and die together
/// (WorkingMemory in memory.h). Not thread-safe: one thread's own.
class GraphCache {
 public:
  /// Most graphs kept: those of eight stages for six different settings. The least recently used is dropped first.
  static constexpr size_t kMaxEntries = 48;

  struct Entry {
    explicit Entry(std::string key);
    ~Entry();
    Entry(const Entry&) = delete;
    const std::string key;
    bool seen = false;                     // has run once
    std::unique_ptr<CapturedGraph> graph;  // from the second run on
  };
  /// The entry of this key, a new one if need be.
  Entry& find(const std::string& key);

  /// Entries of all working memories.
  static int64_t total();

 private:
  std::list<Entry> entries_;  // most recently used first
};

/// Runs one stage of a job, as a graph where that saves time: replaying a graph is one launch, while the host checks,
/// plans and queues each of a stage's some hundred operations alone.
///
/// - The first time, `work` runs as it is. A device computes while the host queues, so this costs nothing; capturing
///   would keep the device idle, and most stages of a lone restore come only once.
/// - The second time in the same working memory, at the same place in it and under the same `ctx.settings`, `work` is
///   captured, and the graph launched.
/// - From then on the graph is replayed. `work` is still called, as a dry run, so that the tensors it takes from the
///   workspace are where they were.
///
/// `work` may not wait for the device, upload, download, or contain another stage. What it queues may depend on nothing
/// but the addresses of its tensors and the settings.
///
/// On the CPU, while planning, under a trace, and in jobs without settings, `work` always runs as it is.
void run_as_graph(Context& ctx, const std::string& stage, const std::function<void()>& work);

}  // namespace iconface
