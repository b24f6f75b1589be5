#include "op/identity_anchor.h"

#include <cmath>

#include "cpu/kernels.h"

namespace iconface::cpu {

namespace {
constexpr double kTiny = 1e-12;  // a norm below this is no embedding: far under anything a network produces

double norm_of(const float* z, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += static_cast<double>(z[i]) * z[i];
  return std::sqrt(sum);
}
}  // namespace

void identity_anchor(Context& ctx, const op::IdentityAnchorArgs& a) {
  const int64_t count = a.embeddings.shape[0], n = a.embeddings.shape[1];
  Workspace::Frame frame(ctx.workspace);
  auto* total = static_cast<double*>(ctx.workspace.bytes(n * static_cast<int64_t>(sizeof(double))));
  if (ctx.planning()) return;
  float* norms = a.norms.as<float>();
  float* weights = a.weights.as<float>();

  double largest = 0;
  for (int64_t r = 0; r < count; r++) {
    norms[r] = static_cast<float>(norm_of(a.embeddings.row<float>(r), n));
    largest = std::fmax(largest, norms[r]);
  }
  double weight_sum = 0;  // softmax(log q / T) with its maximum taken out: (q / q_max)^(1/T)
  for (int64_t r = 0; r < count; r++) {
    const double q = norms[r];
    const double w = q > kTiny ? std::exp(std::log(q / largest) / a.temperature) : 0.0;
    weights[r] = static_cast<float>(w);
    weight_sum += w;
  }
  for (int64_t i = 0; i < n; i++) total[i] = 0;
  for (int64_t r = 0; r < count; r++) {
    if (weights[r] == 0) continue;
    const float* z = a.embeddings.row<float>(r);
    const double w = weights[r] / weight_sum;
    weights[r] = static_cast<float>(w);
    const double scale = w / norm_of(z, n);
    for (int64_t i = 0; i < n; i++) total[i] += scale * z[i];
  }
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += total[i] * total[i];
  const double length = std::sqrt(sum);
  for (int64_t i = 0; i < n; i++)
    a.anchor.as<float>()[i] = length > kTiny ? static_cast<float>(total[i] / length) : 0.0f;
}

}  // namespace iconface::cpu
