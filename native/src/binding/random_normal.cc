#include "op/random_normal.h"

#include <cerrno>
#include <cstdlib>

#include "binding/call.h"

namespace iconface::binding {

/// `seed` is decimal text, because a JavaScript number holds 53 of its 64 bits.
void random_normal(Context& ctx, Call& call) {
  op::RandomNormalArgs a;
  const std::string seed = call.text("seed", "0"), generator = call.text("generator", "torch-cuda");
  char* end = nullptr;
  errno = 0;
  a.seed = strtoull(seed.c_str(), &end, 10);
  if (seed.empty() || seed.find_first_not_of("0123456789") != std::string::npos || *end != 0 || errno == ERANGE)
    fail(Code::InvalidArgument, "expected a whole number of 0 to 2^64 - 1 for seed but received '%s'", seed.c_str());
  if (generator != "torch-cuda" && generator != "torch-cpu")
    fail(Code::InvalidArgument, "expected 'torch-cuda' or 'torch-cpu' for generator but received '%s'",
         generator.c_str());
  a.generator = generator == "torch-cpu" ? op::Generator::TorchCpu : op::Generator::TorchCuda;
  const std::vector<double> sizes = call.numbers("shape");
  if (sizes.empty() || sizes.size() > Tensor::kMaxRank)
    fail(Code::InvalidArgument, "expected 1 to %d sizes in shape but received %zu", Tensor::kMaxRank, sizes.size());
  int64_t shape[Tensor::kMaxRank];
  for (size_t i = 0; i < sizes.size(); i++) {
    if (!(sizes[i] >= 1 && sizes[i] < 1e12) || sizes[i] != static_cast<double>(static_cast<int64_t>(sizes[i])))
      fail(Code::InvalidArgument, "expected whole numbers of 1 or more in shape but received %g", sizes[i]);
    shape[i] = static_cast<int64_t>(sizes[i]);
  }
  a.out = call.output_like("out", DType::F32, Tensor::of(nullptr, DType::F32, shape, static_cast<int>(sizes.size())));
  op::random_normal(ctx, a);
}

}  // namespace iconface::binding
