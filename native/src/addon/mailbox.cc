#include "addon/mailbox.h"

#include <new>

namespace iconface::addon {

namespace {
void deliver(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Letter> letter(static_cast<Letter*>(data));
  if (env == nullptr) return;  // the environment is closing
  try {
    Napi::HandleScope scope(env);
    letter->read(Napi::Env(env));
  } catch (const Napi::Error& e) {
    e.ThrowAsJavaScriptException();
  } catch (const std::bad_alloc&) {
    // A report of progress is lost. Replies allocate nothing, so they never are.
  }
}
}  // namespace

Mailbox::Mailbox(Napi::Env env) : env_(env) {
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "iconface"),
                                                             0, 1, nullptr, nullptr, nullptr, deliver, &function_);
  if (status != napi_ok) throw Napi::Error::New(env, "could not create a thread-safe function");
  napi_unref_threadsafe_function(env_, function_);
}

Mailbox::~Mailbox() { close(); }

void Mailbox::post(std::unique_ptr<Letter> letter) {
  if (function_ != nullptr && napi_call_threadsafe_function(function_, letter.get(), napi_tsfn_nonblocking) == napi_ok)
    letter.release();  // deliver's
}

void Mailbox::keep_alive(bool on) {
  if (function_ == nullptr) return;
  if (on)
    napi_ref_threadsafe_function(env_, function_);
  else
    napi_unref_threadsafe_function(env_, function_);
}

void Mailbox::close() {
  if (function_ == nullptr) return;
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
  function_ = nullptr;
}

}  // namespace iconface::addon
