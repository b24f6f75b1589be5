// Mailbox: the way back from a job's thread to JavaScript. Letters are functions that run on the JavaScript thread.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>

namespace iconface::addon {

class Mailbox {
 public:
  explicit Mailbox(Napi::Env env);
  ~Mailbox();

  /// Any thread. Once the environment is closing, letters are dropped: nobody is left to read them.
  void post(std::function<void(Napi::Env)> letter);
  /// JavaScript thread: while jobs are out, they keep the process alive; an idle model does not.
  void keep_alive(bool on);
  /// JavaScript thread: no letter is delivered after this.
  void close();

 private:
  napi_env env_;
  napi_threadsafe_function function_ = nullptr;
};

}  // namespace iconface::addon
