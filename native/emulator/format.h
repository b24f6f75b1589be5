// format: the text of reports.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <string>

namespace iconface::emulator {

/// printf into a string, cut after 511 characters.
__attribute__((format(printf, 1, 2))) inline std::string format(const char* text, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, text);
  vsnprintf(line, sizeof line, text, arguments);
  va_end(arguments);
  return line;
}

}  // namespace iconface::emulator
