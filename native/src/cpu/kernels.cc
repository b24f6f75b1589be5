// The Backend of the instruction set being compiled.
#include "cpu/kernels.h"

#define ICONFACE_TEXT_(x) #x
#define ICONFACE_TEXT(x) ICONFACE_TEXT_(x)

namespace iconface::cpu::ICONFACE_ISA {

extern const Backend backend;
const Backend backend = {.name = "cpu/" ICONFACE_TEXT(ICONFACE_ISA),
#define X(result, operation, Arguments) .operation = operation,
                         ICONFACE_KERNELS(X)
#undef X
#define X(result, operation, Arguments) .operation = cpu::operation,
                             ICONFACE_TABLES(X)
#undef X
};

}  // namespace iconface::cpu::ICONFACE_ISA
