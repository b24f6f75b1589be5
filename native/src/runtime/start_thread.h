// The one place where a thread is started.
#pragma once
#include <functional>
#include <string>
#include <thread>

namespace iconface {

/// Starts a thread that runs `body`.
/// @param what  names it in the error: "thread 2 of 8"
/// @throws Threads when the system refuses
std::thread start_thread(const std::string& what, std::function<void()> body);

/// Whether so many threads could be started just now; none of them is left. Memory that is lacking (std::bad_alloc) is no answer.
bool can_start_threads(int count);

}  // namespace iconface
