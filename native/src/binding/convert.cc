// convert, all_finite, identity_anchor: by themselves from JavaScript.
#include "op/convert.h"

#include "binding/call.h"
#include "op/all_finite.h"
#include "op/identity_anchor.h"

namespace iconface::binding {

void convert(Context& ctx, Call& call) {
  const Tensor x = call.input("x");
  op::convert(ctx, {.x = x, .out = call.output_like("out", call.dtype("outDtype", DType::F32), x)});
}

void all_finite(Context& ctx, Call& call) {
  const bool finite = op::all_finite(ctx, call.input("x"));
  const Tensor out = call.host_output("out", DType::U8, {1});
  if (!ctx.planning()) *out.as<uint8_t>() = finite;
}

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
