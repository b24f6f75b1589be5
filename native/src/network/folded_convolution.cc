#include "network/folded_convolution.h"

#include <cmath>

#include "base/error.h"
#include "op/to_channels_last.h"

namespace iconface {

namespace {
constexpr double kBatchNormEps = 1e-5;
}

FoldedNorm fold_norm(const Weights& w, const std::string& name, bool affine) {
  const std::vector<float> mean = w.values(name + ".running_mean", {-1});
  const auto channels = static_cast<int64_t>(mean.size());
  const std::vector<float> var = w.values(name + ".running_var", {channels});
  const std::vector<float> gamma = affine ? w.values(name + ".weight", {channels}) : std::vector<float>{};
  const std::vector<float> beta = affine ? w.values(name + ".bias", {channels}) : std::vector<float>{};
  FoldedNorm n;
  for (size_t i = 0; i < mean.size(); i++) {
    const double scale = (affine ? gamma[i] : 1.0) / std::sqrt(var[i] + kBatchNormEps);
    n.scale.push_back(static_cast<float>(scale));
    n.shift.push_back(static_cast<float>((affine ? beta[i] : 0.0) - mean[i] * scale));
  }
  return n;
}

Convolution read_convolution(Context& ctx, Weights& w, const std::string& conv, const std::string& norm,
                             std::initializer_list<int64_t> shape) {
  const Tensor stored = w.get(conv + ".weight", shape);
  const FoldedNorm n = fold_norm(w, norm, true);
  const int64_t *s = stored.shape, channels = s[0];
  if (static_cast<int64_t>(n.scale.size()) != channels)
    fail(Code::InvalidCheckpoint, "%s has %zu channels, but %s.weight makes %lld", norm.c_str(), n.scale.size(),
         conv.c_str(), static_cast<long long>(channels));
  const Tensor weight = w.allocate(DType::F32, {channels, s[2], s[3], s[1]});
  op::to_channels_last(ctx, {.weight = stored, .out = weight, .scale = w.keep(ctx, n.scale, {channels})});
  w.release(conv + ".weight");
  return {weight, w.keep(ctx, n.shift, {channels})};
}

}  // namespace iconface
