// plan_then_run: a job measures its working memory before it runs.
//
// The same code runs twice. First its workspace is a planning one: operations check their shapes, add up their memory
// and return. Then it runs in memory of exactly that size, of which it takes the same pieces in the same order.
#pragma once
#include "runtime/context.h"

namespace iconface {

/// Bytes of working memory that `body(Context&)` takes in a context like `ctx`. Nothing is computed.
template <class Body>
int64_t planned_bytes(const Context& ctx, Body&& body) {
  Workspace plan;
  Context planning = ctx.in(plan);
  body(planning);
  return plan.peak();
}

/// Plans `body(Context&)`, then runs it in new memory. `ctx` gives everything but the workspace.
template <class Body>
void plan_then_run(const Context& ctx, Body&& body) {
  Workspace workspace{Pages(planned_bytes(ctx, body), ctx.device)};
  Context running = ctx.in(workspace);
  body(running);
}

}  // namespace iconface
