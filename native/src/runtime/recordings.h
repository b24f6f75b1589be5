// Recordings: work that comes again and again with the same tensors, kept by the device as one piece (a CUDA graph).
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "runtime/device.h"

namespace iconface {

struct Context;

/// What was recorded in one working memory. It holds that memory's addresses, so both live and die together
/// (WorkingMemory in memory.h). Not thread-safe: one thread's own.
class Recordings {
 public:
  /// Pieces of work that are kept, the least recently used goes first: a restore has eight, so that is six settings.
  static constexpr size_t kMost = 48;

  struct Entry {
    explicit Entry(std::string key);
    ~Entry();
    Entry(const Entry&) = delete;
    const std::string key;
    bool seen = false;                     // has run once
    std::unique_ptr<Recording> recording;  // from the second time on
  };
  /// The piece of work of this name, a new one if need be.
  Entry& find(const std::string& key);

  /// Entries of all working memories.
  static int64_t total();

 private:
  std::list<Entry> kept_;  // most recently used first
};

/// Queues `work`, one stage of a job. Where it comes again in the same working memory, from the same place in it and under
/// the same `ctx.settings`, the device records it and then plays the record: the host's part of some hundred operations,
/// each of which checks its shapes, plans its launch and is queued alone, becomes one launch.
///
/// The first time `work` runs plainly: a device works while the host queues, so that costs nothing, where recording would
/// keep it idle, and most of a lone restore comes only once. The second time it is recorded. It may neither wait for the
/// device, nor bring anything there from the host, nor hold another stage; what it queues may depend on nothing but its
/// tensors' places and the settings. It is called even when its record is played, then in a rehearsal, so that what it
/// makes is where it was.
/// On the processor, while planning, under a trace and in jobs without settings it only runs.
void recorded(Context& ctx, const std::string& stage, const std::function<void()>& work);

}  // namespace iconface
