// start_thread: the only place where the core starts threads.
#pragma once
#include <functional>
#include <string>
#include <thread>

namespace iconface {

/// Starts a thread that runs `body`.
/// @param what  names it in the error: "thread 2 of 8"
/// @throws Threads when the system refuses
std::thread start_thread(const std::string& what, std::function<void()> body);

/// Whether `count` threads can run at once: starts them and ends them. Throws std::bad_alloc where memory ran out,
/// which tells nothing about the limit of threads.
bool can_start_threads(int count);

}  // namespace iconface
