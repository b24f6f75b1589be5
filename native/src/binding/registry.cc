// Every kind that can be run by itself, by name. One function per kind, in the file of its name.
#include "binding/call.h"
#include "op/list.h"

namespace iconface::binding {

// What is no operation: a product of several, and the networks.
#define ICONFACE_OTHERS(X) \
  X(grouped_linear)        \
  X(transformer)           \
  X(double_block)          \
  X(single_block)          \
  X(sample)                \
  X(face_crop_matrix)      \
  X(schedule)              \
  X(encode)                \
  X(decode)                \
  X(face_embedding)        \
  X(text_embedding)        \
  X(face_detection)

#define OPERATION(result, operation, Arguments) X(operation)
#define ICONFACE_KINDS(X) ICONFACE_OPERATIONS(OPERATION) ICONFACE_OTHERS(X)

#define X(kind) void kind(Context&, Call&);
ICONFACE_KINDS(X)
#undef X

namespace {
struct Named {
  const char* name;
  Run run;
};
const Named kKinds[] = {
#define X(kind) {#kind, kind},
    ICONFACE_KINDS(X)
#undef X
};
}  // namespace

Run find(const std::string& kind) {
  for (const Named& k : kKinds)
    if (kind == k.name) return k.run;
  return nullptr;
}

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (const Named& k : kKinds) names.push_back(k.name);
  return names;
}

}  // namespace iconface::binding
