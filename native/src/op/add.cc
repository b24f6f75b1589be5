#include "op/add.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void add(Context& ctx, const AddArgs& args) {
  check_flat_f32("add", "a", args.a);
  check_flat_f32("add", "b", args.b);
  check_flat_f32("add", "out", args.out);
  check_same("add", "b", args.b, "a", args.a);
  check_same("add", "out", args.out, "a", args.a);
  ctx.backend.add(ctx, args);
}

}  // namespace iconface::op
