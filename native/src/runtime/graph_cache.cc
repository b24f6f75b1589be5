#include "runtime/graph_cache.h"

#include <algorithm>
#include <atomic>

#include "runtime/context.h"

namespace iconface {

namespace {
std::atomic<int64_t> g_entries{0};
}

GraphCache::Entry::Entry(std::string key) : key(std::move(key)) { g_entries++; }
GraphCache::Entry::~Entry() { g_entries--; }
int64_t GraphCache::total() { return g_entries; }

GraphCache::Entry& GraphCache::find(const std::string& key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    if (entries_.size() == kMaxEntries) entries_.pop_back();
    entries_.emplace_front(key);
  }
  return entries_.front();
}

void run_as_graph(Context& ctx, const std::string& stage, const std::function<void()>& work) {
  if (ctx.device == nullptr || ctx.planning() || ctx.trace != nullptr || ctx.settings.empty()) return work();
  const std::string place = std::to_string(ctx.workspace.used());
  GraphCache::Entry& entry = ctx.workspace.graphs().find(stage + " at " + place + ": " + ctx.settings);
  if (entry.graph) {
    const Workspace::DryRun dry_run(ctx.workspace);
    work();
  } else if (entry.seen) {
    entry.graph = ctx.device->capture(work);
  } else {
    work();
    entry.seen = true;
    return;
  }
  entry.graph->replay();
}

}  // namespace iconface
