// Which instruction set to compute with.
#pragma once
#include <string>
#include <vector>

#include "op/backend.h"

namespace iconface::cpu {

/// Names of the instruction sets this binary holds and this machine can run, best first.
std::vector<std::string> available_isas();
/// The backend of one of them; empty means the best. Throws Unsupported, listing the names, for any other.
const Backend& select(const std::string& isa);

}  // namespace iconface::cpu
