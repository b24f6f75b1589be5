#include "cpu/host/select.h"

#include "base/error.h"

namespace iconface::cpu {

// ICONFACE_ISA_LIST is X(name) for every instruction set of this build, best first (CMakeLists.txt).
#define X(isa)                  \
  namespace isa {               \
  extern const Backend backend; \
  }
ICONFACE_ISA_LIST
#undef X

namespace {

bool machine_has(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == "avx512bf16") return avx512 && __builtin_cpu_supports("avx512bf16");
  if (isa == "avx512") return avx512;
  if (isa == "avx2") return avx2;
#endif
  return isa == "baseline" || isa == "neon";
}

struct Candidate {
  const char* name;
  const Backend* backend;
};
const Candidate kCandidates[] = {
#define X(isa) {#isa, &isa::backend},
    ICONFACE_ISA_LIST
#undef X
};

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Candidate& c : kCandidates)
    if (machine_has(c.name)) names.push_back(c.name);
  return names;
}

const Backend& select(const std::string& isa) {
  std::string names;
  for (const Candidate& c : kCandidates) {
    if (!machine_has(c.name)) continue;
    if (isa.empty() || isa == c.name) return *c.backend;
    names += (names.empty() ? "" : ", ") + std::string(c.name);
  }
  fail(Code::Unsupported, "instruction set '%s' is not available here; available: %s", isa.c_str(), names.c_str());
}

}  // namespace iconface::cpu
