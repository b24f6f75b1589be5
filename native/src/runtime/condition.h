// wait_until_true: a condition variable's wait that older systems' libstdc++ can link.
#pragma once
#include <pthread.h>

#include <condition_variable>
#include <mutex>

namespace iconface {

/// As std::condition_variable::wait with a predicate, but by pthreads. The standard function, compiled by GCC 12, needs
/// GLIBCXX_3.4.30, which the libstdc++ of GCC 11 lacks: RHEL 9 and Amazon Linux 2023 would not load the addon.
template <class Predicate>
void wait_until_true(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, const Predicate& ready) {
  while (!ready()) pthread_cond_wait(condition.native_handle(), lock.mutex()->native_handle());
}

}  // namespace iconface
