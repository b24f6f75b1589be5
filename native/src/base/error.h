// Error: the native core's only error type. addon/ turns it into a JavaScript error.
#pragma once
#include <stdexcept>
#include <string>

namespace iconface {

/// Stable codes; JavaScript sees them as `ERR_ICONFACE_<NAME>` (lib/errors.ts lists the same names).
enum class Code {
  InvalidArgument,    // a shape, dtype or option that cannot be right
  InvalidCheckpoint,  // a file or tensor that does not fit the model
  OutOfMemory,        // refused before any work, or an allocation that failed
  Threads,            // the operating system refused to start a thread
  Aborted,            // the caller cancelled
  Disposed,           // used after dispose()
  Numerical,          // a NaN or infinity in a latent, an embedding or a picture
  Unsupported,        // this build or machine cannot do it
  Io,                 // the operating system refused a file
  DeviceUnavailable,  // the GPU that was asked for cannot be used
  Cuda,               // a call or kernel of the GPU failed
  Internal,           // a bug of ours
};

const char* code_name(Code code);

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message) : std::runtime_error(message), code(code) {}
  const Code code;
};

/// Throws `Error(code, printf-formatted message)`.
[[noreturn]] void fail(Code code, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace iconface
