// Mailbox: letters from a job's thread to the JavaScript thread.
#pragma once
#include <napi.h>

#include <memory>

namespace iconface::addon {

/// Read on the JavaScript thread, or destroyed unread, on any thread, once the environment is closing.
struct Letter {
  virtual ~Letter() = default;
  virtual void read(Napi::Env) = 0;
};

class Mailbox {
 public:
  explicit Mailbox(Napi::Env env);
  ~Mailbox();

  /// Any thread. Letters are dropped once the environment is closing.
  void post(std::unique_ptr<Letter> letter);
  /// JavaScript thread: whether the process must not end, because jobs are pending.
  void keep_alive(bool on);
  /// JavaScript thread: no letter is delivered after this.
  void close();

 private:
  napi_env env_;
  napi_threadsafe_function function_ = nullptr;
};

}  // namespace iconface::addon
