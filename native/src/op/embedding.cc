#include "op/embedding.h"

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void embedding(Context& ctx, const EmbeddingArgs& a) {
  const char* op = "embedding";
  check_tensor(op, "ids", a.ids, {DType::I32}, {-1});
  check_tensor(op, "table", a.table, kWeight, {-1, -1});
  check(a.ids.elements() > 0 && a.table.elements() > 0, op, "ids %s and table %s must not be empty",
        a.ids.describe().c_str(), a.table.describe().c_str());
  check_tensor(op, "out", a.out, kFloat, {a.ids.shape[0], a.table.last()});
  const int64_t wrong = ctx.backend.embedding(ctx, a);
  check(wrong == a.ids.shape[0], op, "ids[%lld] is none of the table's %lld rows", static_cast<long long>(wrong),
        static_cast<long long>(a.table.shape[0]));
}

}  // namespace iconface::op
