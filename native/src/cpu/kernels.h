// The CPU's operations: those declared once for the instruction set being compiled, and the tables, which are compiled
// once.
#pragma once
#include "op/backend.h"

#define X(result, operation, Arguments) result operation(Context&, const Arguments&);

namespace iconface::cpu {
ICONFACE_TABLES(X)
}

namespace iconface::cpu::ICONFACE_ISA {
ICONFACE_KERNELS(X)
}

#undef X
