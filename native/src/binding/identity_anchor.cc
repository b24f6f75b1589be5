#include "op/identity_anchor.h"

#include "binding/call.h"

namespace iconface::binding {

void identity_anchor(Context& ctx, Call& call) {
  const Tensor embeddings = call.input("embeddings");
  if (embeddings.rank != 2) fail(Code::InvalidArgument, "identity_anchor: embeddings must be F32 [references, size]");
  const int64_t count = embeddings.shape[0];
  op::identity_anchor(ctx, {.embeddings = embeddings,
                            .temperature = call.number("temperature", 1),
                            .anchor = call.output("anchor", DType::F32, {embeddings.shape[1]}),
                            .norms = call.output("norms", DType::F32, {count}),
                            .weights = call.output("weights", DType::F32, {count})});
}

}  // namespace iconface::binding
