#include "runtime/recordings.h"

#include <algorithm>
#include <atomic>

#include "runtime/context.h"

namespace iconface {

namespace {
std::atomic<int64_t> g_entries{0};
}

Recordings::Entry::Entry(std::string key) : key(std::move(key)) { g_entries++; }
Recordings::Entry::~Entry() { g_entries--; }
int64_t Recordings::total() { return g_entries; }

Recordings::Entry& Recordings::find(const std::string& key) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const Entry& e) { return e.key == key; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
  } else {
    if (kept_.size() == kMost) kept_.pop_back();
    kept_.emplace_front(key);
  }
  return kept_.front();
}

void recorded(Context& ctx, const std::string& stage, const std::function<void()>& work) {
  if (ctx.device == nullptr || ctx.planning() || ctx.trace != nullptr || ctx.settings.empty()) return work();
  const std::string place = std::to_string(ctx.workspace.used());
  Recordings::Entry& entry = ctx.workspace.recordings().find(stage + " at " + place + ": " + ctx.settings);
  if (entry.recording) {
    const Workspace::Rehearsal rehearsal(ctx.workspace);
    work();
  } else if (entry.seen) {
    entry.recording = ctx.device->record(work);
  } else {
    work();
    entry.seen = true;
    return;
  }
  entry.recording->play();
}

}  // namespace iconface
