#include "runtime/context.h"

#include "base/error.h"

namespace iconface {

void Context::check_cancelled() const {
  if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) fail(Code::Aborted, "the job was cancelled");
}

}  // namespace iconface
