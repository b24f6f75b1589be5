// Mailbox: the way back from a job's thread to JavaScript.
#pragma once
#include <napi.h>

#include <memory>

namespace iconface::addon {

/// Read on the JavaScript thread, or thrown away unread on any thread once the environment is closing.
struct Letter {
  virtual ~Letter() = default;
  virtual void read(Napi::Env) = 0;
};

class Mailbox {
 public:
  explicit Mailbox(Napi::Env env);
  ~Mailbox();

  /// Any thread. Once the environment is closing, letters are dropped: nobody is left to read them.
  void post(std::unique_ptr<Letter> letter);
  /// JavaScript thread: while jobs are out, they keep the process alive; an idle model does not.
  void keep_alive(bool on);
  /// JavaScript thread: no letter is delivered after this.
  void close();

 private:
  napi_env env_;
  napi_threadsafe_function function_ = nullptr;
};

}  // namespace iconface::addon
