#include "base/error.h"

#include <cstdarg>
#include <cstdio>

namespace iconface {

const char* code_name(Code code) {
  switch (code) {
    case Code::InvalidArgument:
      return "ERR_ICONFACE_INVALID_ARGUMENT";
    case Code::InvalidCheckpoint:
      return "ERR_ICONFACE_INVALID_CHECKPOINT";
    case Code::OutOfMemory:
      return "ERR_ICONFACE_OUT_OF_MEMORY";
    case Code::Threads:
      return "ERR_ICONFACE_THREADS";
    case Code::Aborted:
      return "ERR_ICONFACE_ABORTED";
    case Code::Disposed:
      return "ERR_ICONFACE_DISPOSED";
    case Code::Numerical:
      return "ERR_ICONFACE_NUMERICAL";
    case Code::Unsupported:
      return "ERR_ICONFACE_UNSUPPORTED";
    case Code::Io:
      return "ERR_ICONFACE_IO";
    case Code::DeviceUnavailable:
      return "ERR_ICONFACE_DEVICE_UNAVAILABLE";
    case Code::Cuda:
      return "ERR_ICONFACE_CUDA";
    case Code::Internal:
      return "ERR_ICONFACE_INTERNAL";
  }
  return "ERR_ICONFACE_INTERNAL";
}

void fail(Code code, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error(code, text);
}

}  // namespace iconface
