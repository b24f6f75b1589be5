#pragma once
#include <pthread.h>

#include <condition_variable>
#include <mutex>

namespace iconface {

// What std::condition_variable::wait does, asked of pthreads themselves. The standard one, compiled by GCC 12, is
// GLIBCXX_3.4.30, which the libstdc++ of GCC 11 lacks: RHEL 9 and Amazon Linux 2023 would not load the addon.
template <class Predicate>
void wait_until_true(std::condition_variable& condition, std::unique_lock<std::mutex>& lock, const Predicate& ready) {
  while (!ready()) pthread_cond_wait(condition.native_handle(), lock.mutex()->native_handle());
}

}  // namespace iconface
