// Backend: the operations of one device, as a table. op/*.cc check the arguments, then call through it.
#pragma once
#include "op/list.h"

namespace iconface {

struct Backend {
  const char* name;  // "cpu/avx512bf16", ...

#define X(result, operation, Arguments) result (*operation)(Context&, const Arguments&);
  ICONFACE_OPERATIONS(X)
#undef X
};

}  // namespace iconface
