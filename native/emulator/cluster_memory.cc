// The checks of every access of a cluster's threads: bounds, initialisation, order (cluster.h); and cp.async.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <cstring>

#include "emulator/cluster.h"
#include "emulator/format.h"

namespace iconface::emulator {

namespace {

/// The parts of this library that nobody can write to: constants live there, which kernels may read.
const Allocations& constants() {
  static const Allocations found = [] {
    Allocations list;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* data) {
          const auto self = reinterpret_cast<uintptr_t>(&constants);
          bool ours = false;
          Allocations segments;
          for (int i = 0; i < info->dlpi_phnum; i++) {
            const auto& p = info->dlpi_phdr[i];
            if (p.p_type != PT_LOAD) continue;
            const uintptr_t begin = info->dlpi_addr + p.p_vaddr;
            ours = ours || (self >= begin && self < begin + p.p_memsz);
            if ((p.p_flags & PF_W) == 0) segments.push_back({begin, begin + p.p_memsz});
          }
          if (ours) *static_cast<Allocations*>(data) = segments;
          return ours ? 1 : 0;
        },
        &list);
    return list;
  }();
  return found;
}

bool inside(const Allocations& list, uintptr_t at, size_t bytes, Allocation* hit) {
  auto after =
      std::upper_bound(list.begin(), list.end(), at, [](uintptr_t a, const Allocation& x) { return a < x.begin; });
  if (after == list.begin()) return false;
  const Allocation& a = *--after;
  if (at >= a.end || bytes > a.end - at) return false;
  if (hit != nullptr) *hit = a;
  return true;
}

const char* verb(Cluster::Access kind) {
  return kind == Cluster::Access::Read ? "reads" : kind == Cluster::Access::Write ? "writes" : "atomically changes";
}

}  // namespace

// ---- accesses
// ---------------------------------------------------------------------------------------------------------------

void Cluster::access(const void* address, size_t bytes, Access kind, const void* caller) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  const auto stack = reinterpret_cast<uintptr_t>(stacks_.begin(static_cast<size_t>(running_)));
  if (at - stack < Stacks::kBytes) return;
  if (at - last_hit_.begin < last_hit_.end - last_hit_.begin && bytes <= last_hit_.end - at) return;
  const uintptr_t offset = at - reinterpret_cast<uintptr_t>(shared());
  if (offset < kSharedStride) return check_shared(rank_, offset, bytes, kind, caller);
  if (inside(*launch_->memory, at, bytes, &last_hit_)) return;
  if (kind == Access::Read) {
    const auto arguments = reinterpret_cast<uintptr_t>(launch_->arguments);
    if (at - arguments < launch_->arguments_bytes) return;
    if (inside(constants(), at, bytes, nullptr)) return;
  }
  std::string nearest;
  for (const Allocation& a : *launch_->memory)
    if (at >= a.begin && at < a.end + 65536)
      nearest = format(", %zd bytes past the end of an allocation of %zu", static_cast<ptrdiff_t>(at + bytes - a.end),
                       static_cast<size_t>(a.end - a.begin));
    else if (at < a.begin && at + 65536 > a.begin && nearest.empty())
      nearest = format(", %zu bytes before an allocation of %zu", static_cast<size_t>(a.begin - at),
                       static_cast<size_t>(a.end - a.begin));
  report(format("%s %zu bytes at %p, outside every allocation of device memory", verb(kind), bytes, address) + nearest,
         caller);
}

void Cluster::access_across(const void* address, size_t bytes, Access kind, const void* caller) {
  const size_t offset = static_cast<size_t>(static_cast<const char*>(address) - shared_);
  const auto rank = static_cast<int>(offset / kSharedStride);
  if (rank >= static_cast<int>(blocks_.size()) || rank == rank_) return access(address, bytes, kind, caller);
  Block& other = blocks_[static_cast<size_t>(rank)];
  if (other.ended == count_)
    report(format("%s %zu bytes of the shared memory of ", verb(kind), bytes) + block_text(rank) +
               ", which has ended: a cluster_sync is missing",
           caller);
  check_shared(rank, offset % kSharedStride, bytes, kind, caller);
  other.visits[running_] = {now_, caller};
}

char* Cluster::counterpart(const void* own, uint32_t rank, const void* caller) {
  const size_t offset = static_cast<size_t>(static_cast<const char*>(own) - shared());
  if (offset >= kSharedStride) report(format("mapa of %p, which is not its block's shared memory", own), caller);
  if (rank >= blocks_.size()) report(format("block %u of a cluster of %zu", rank, blocks_.size()), caller);
  return shared_ + rank * kSharedStride + offset;
}

bool Cluster::happened_before(int thread, uint32_t time) const {
  return thread == running_ || time < barrier_time_ ||
         known_[static_cast<size_t>(running_) * static_cast<size_t>(total_) + static_cast<size_t>(thread)] > time;
}

/// A thread that read the cell and of which the running one knows nothing; -1 when there is none.
int Cluster::unordered_reader(const Cell& cell, const std::vector<Reading>& readings) const {
  if (cell.read < start_ || cell.read < barrier_time_) return -1;
  if (cell.reader != kSeveral) return happened_before(cell.reader, cell.read) ? -1 : cell.reader;
  for (const Reading& r : readings)
    if (!happened_before(r.thread, r.time)) return r.thread;
  return -1;
}

void Cluster::note_reader(Cell& cell, std::vector<Reading>& readings) {
  if (cell.read < barrier_time_ || cell.read < cell.written || cell.reader == running_) {
    // Who read earlier is ordered before everyone, or before the last write.
    cell.reader = static_cast<uint16_t>(running_);
  } else {
    if (cell.reader != kSeveral) readings.assign(1, {cell.reader, cell.read});
    cell.reader = kSeveral;
    // A thread may be listed more than once, as it seldom is; looking for it each time would cost more than all the
    // rest.
    if (readings.size() > 2 * static_cast<size_t>(total_)) keep_latest(readings);
    if (readings.back().thread == running_)
      readings.back().time = now_;
    else
      readings.push_back({running_, now_});
  }
  cell.read = now_;
}

/// Each thread's latest reading alone.
void Cluster::keep_latest(std::vector<Reading>& readings) {
  std::sort(readings.begin(), readings.end(), [](const Reading& a, const Reading& b) {
    return a.thread != b.thread ? a.thread < b.thread : a.time > b.time;
  });
  const auto same = [](const Reading& a, const Reading& b) { return a.thread == b.thread; };
  readings.erase(std::unique(readings.begin(), readings.end(), same), readings.end());
}

/// Gives each byte of a word a cell of its own.
void Cluster::split(size_t word) {
  for (size_t byte = 4 * word; byte < 4 * word + 4; byte++) {
    bytes_[byte] = words_[word];
    if (words_[word].reader == kSeveral && byte != 4 * word) readings_[byte] = readings_[4 * word];
  }
  split_[word] = 1;
}

/// Gives the bytes of a word one cell again, where nothing depends on telling them apart: one thread wrote them at
/// one time and nobody has read them since, or all that happened to them came before the last barrier. Returns
/// whether it did.
bool Cluster::merge(size_t word) {
  const Cell* const cells = &bytes_[4 * word];
  Cell merged = cells[0];
  bool over = true, same = true;
  for (int i = 0; i < 4; i++) {
    const Cell& c = cells[i];
    over = over && c.written >= start_ && c.written < barrier_time_ && c.read < barrier_time_ && !(c.writer & kAsync);
    same = same && c.written == merged.written && c.writer == merged.writer && c.read < c.written;
  }
  if (!over && !same) return false;
  merged.read = 0;
  words_[word] = merged;
  split_[word] = 0;
  return true;
}

void Cluster::check_shared(int rank, size_t offset, size_t bytes, Access kind, const void* caller) {
  if (offset + bytes > launch_->shared_bytes)
    report(format("%s %zu bytes at shared+0x%zx, outside the block's %zu bytes of shared memory", verb(kind), bytes,
                  offset, launch_->shared_bytes),
           caller);
  const auto where = [&](size_t i) {
    return format("shared+0x%zx", offset + i) + (rank == rank_ ? "" : " of " + block_text(rank));
  };
  for (size_t i = 0; i < bytes;) {
    const size_t byte = byte_of(rank, offset + i), word = byte / 4;
    const bool whole = byte % 4 == 0 && bytes - i >= 4 && (split_[word] == 0 || merge(word));
    if (!whole && split_[word] == 0) split(word);
    Cell& cell = whole ? words_[word] : bytes_[byte];
    const bool written = cell.written >= start_;
    const int writer = cell.writer & kThread;
    if (written && (cell.writer & kAsync))
      report(format("%s %zu bytes at ", verb(kind), bytes) + where(i) + ", where a copy (cp.async) of " +
                 place(writer) + " is under way: a wait is missing",
             caller);
    if (!written && kind != Access::Write)
      report(format("%s %zu bytes at ", verb(kind), bytes) + where(i) +
                 ", which nobody has written: uninitialised shared memory",
             caller);
    const bool both_atomic = kind == Access::Atomic && (cell.writer & kAtomic);
    if (written && !both_atomic && !happened_before(writer, cell.written))
      report(format("race: %s %zu bytes at ", verb(kind), bytes) + where(i) + ", which " + place(writer) +
                 " wrote with no barrier between",
             caller);
    if (kind == Access::Read) {
      note_reader(cell, readings_[byte]);
    } else {
      if (const int reader = unordered_reader(cell, readings_[byte]); reader >= 0)
        report(format("race: %s %zu bytes at ", verb(kind), bytes) + where(i) + ", which " + place(reader) +
                   " read with no barrier between",
               caller);
      cell.written = now_;
      cell.writer = static_cast<uint16_t>(running_ | (kind == Access::Atomic ? kAtomic : 0));
    }
    i += whole ? 4 : 1;
  }
}

template <typename Change>
void Cluster::change_cells(const char* at, Change change) {
  const size_t first = byte_of(rank_, static_cast<size_t>(at - shared()));
  for (size_t word = first / 4; word < first / 4 + 4; word++) {
    if (split_[word] == 0)
      change(words_[word]);
    else
      for (size_t byte = 4 * word; byte < 4 * word + 4; byte++) change(bytes_[byte]);
  }
}

// ---- asynchronous copies
// --------------------------------------------------------------------------------------------------

void Cluster::copy_async(char* to, const char* from, bool valid, const void* caller) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || (valid && reinterpret_cast<uintptr_t>(from) % 16 != 0))
    report(format("cp.async from %p to %p: 16 bytes must be aligned to 16", static_cast<const void*>(from),
                  static_cast<void*>(to)),
           caller);
  if (static_cast<size_t>(to - shared()) >= kMaxShared)
    report(format("cp.async to %p, which is not shared memory", static_cast<void*>(to)), caller);
  access(to, 16, Access::Write, caller);
  if (valid) access(from, 16, Access::Read, caller);
  Thread& t = threads_[static_cast<size_t>(running_)];
  Copy copy{to, {}, t.open_group};
  if (valid) memcpy(copy.bytes, from, 16);
  t.copies.push_back(copy);
  change_cells(to, [](Cell& cell) { cell.writer |= kAsync; });
}

void Cluster::commit_copies() { threads_[static_cast<size_t>(running_)].open_group++; }

void Cluster::wait_copies(int groups_left) {
  Thread& t = threads_[static_cast<size_t>(running_)];
  const int last = t.open_group - 1 - groups_left;  // groups up to this one must be done
  size_t kept = 0;
  for (Copy& copy : t.copies) {
    if (copy.group > last) {
      t.copies[kept++] = copy;
      continue;
    }
    memcpy(copy.to, copy.bytes, 16);
    change_cells(copy.to, [this](Cell& cell) {
      cell.written = now_;
      cell.writer = static_cast<uint16_t>(running_);
    });
  }
  t.copies.resize(kept);
}

}  // namespace iconface::emulator
