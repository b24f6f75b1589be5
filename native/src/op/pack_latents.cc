#include "op/pack_latents.h"

#include <cmath>

#include "op/backend.h"
#include "op/check.h"

namespace iconface::op {

void pack_latents(Context& ctx, const PackLatentsArgs& a) {
  constexpr const char* kOp = "pack_latents";
  check_tensor(kOp, "map", a.map, kF32, {-1, -1, -1});
  const int64_t height = a.map.shape[0], width = a.map.shape[1];
  check(height > 0 && width > 0 && height % 2 == 0 && width % 2 == 0, kOp,
        "map must have an even height and width, but is %s", a.map.describe().c_str());
  check_tensor(kOp, "tokens", a.tokens, kF32, {height / 2 * (width / 2), -1});
  const int64_t packed = a.tokens.last();
  check(packed > 0 && packed % 4 == 0 && packed / 4 <= a.map.last(), kOp,
        "tokens must have 4 channels for each of the map's, or of its first ones, but are %s for a map %s",
        a.tokens.describe().c_str(), a.map.describe().c_str());
  check(!a.inverse || packed / 4 == a.map.last(), kOp, "tokens %s do not fill the map %s", a.tokens.describe().c_str(),
        a.map.describe().c_str());
  check_tensor(kOp, "mean", a.mean, kF32, {packed});
  check_tensor(kOp, "var", a.var, kF32, {packed});
  check(std::isfinite(a.eps) && a.eps >= 0, kOp, "eps must be finite and not negative, but is %g", a.eps);
  ctx.backend.pack_latents(ctx, a);
}

}  // namespace iconface::op
