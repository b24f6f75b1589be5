#include "runtime/start_thread.h"

#include <atomic>
#include <exception>
#include <new>
#include <vector>

#include "base/error.h"

namespace iconface {

std::thread start_thread(const std::string& what, std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    fail(Code::Threads,
         "could not start %s: %s; the limit on processes and threads is reached (ulimit -u, pids.max of a container), "
         "or there is no memory for its stack: raise the limit, end other processes, or ask for fewer threads",
         what.c_str(), e.what());
  }
}

bool can_start_threads(int count) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(count));
  std::atomic<bool> go{false};
  bool all = true, memory = true;
  try {
    // All wait until the last has started: a thread that had ended would make room for the next one.
    while (static_cast<int>(threads.size()) < count) threads.emplace_back([&go] { go.wait(false); });
  } catch (const std::bad_alloc&) {
    memory = false;
  } catch (const std::exception&) {
    all = false;
  }
  go = true;
  go.notify_all();
  for (std::thread& t : threads) t.join();
  if (!memory) throw std::bad_alloc();
  return all;
}

}  // namespace iconface
