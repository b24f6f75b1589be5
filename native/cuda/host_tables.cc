// Tables that a restore needs once: made on the host, in double, by the processor's own functions, so that every device gets
// the same bits; then uploaded. A few hundred kilobytes.
#include "cpu/host_tables.h"

#include "cuda/device.h"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

/// A tensor of the device, as contiguous memory of the host.
class HostCopy {
 public:
  explicit HostCopy(const Tensor& device) : device_(device), memory_(device.bytes()) {
    host_ = Tensor::of(memory_.data(), device.dtype, device.shape, device.rank);
  }
  const Tensor& tensor() const { return host_; }
  /// Row by row: the device's rows may be strided.
  void read(Device& device) {
    each_row([&](char* host, char* there, int64_t n) { device.download(host, there, n); });
  }
  void write(Device& device) {
    each_row([&](char* host, char* there, int64_t n) { device.upload(there, host, n); });
  }

 private:
  template <class Copy>
  void each_row(Copy copy) {
    if (device_.contiguous()) return copy(host_.as<char>(), device_.as<char>(), device_.bytes());
    const int64_t bytes = device_.last() * dtype_bytes(device_.dtype);
    for (int64_t r = 0; r < device_.rows(); r++) copy(host_.row_address(r), device_.row_address(r), bytes);
  }

  Tensor device_, host_;
  Pages memory_;
};

}  // namespace

void rope_table(Context& ctx, const op::RopeTableArgs& a) {
  if (ctx.planning()) return;
  HostCopy ids(a.ids), cos(a.cos), sin(a.sin);
  ids.read(*ctx.device);
  op::RopeTableArgs host = a;
  host.ids = ids.tensor(), host.cos = cos.tensor(), host.sin = sin.tensor();
  cpu::rope_table(ctx, host);
  cos.write(*ctx.device);
  sin.write(*ctx.device);
}

void timestep_embedding(Context& ctx, const op::TimestepEmbeddingArgs& a) {
  if (ctx.planning()) return;
  HostCopy out(a.out);
  cpu::timestep_embedding(ctx, {a.timestep, out.tensor()});
  out.write(*ctx.device);
}

void random_normal(Context& ctx, const op::RandomNormalArgs& a) {
  if (ctx.planning()) return;
  HostCopy out(a.out);
  cpu::random_normal(ctx, {a.seed, a.generator, out.tensor()});
  out.write(*ctx.device);
}

void identity_anchor(Context& ctx, const op::IdentityAnchorArgs& a) {
  if (ctx.planning()) return;
  HostCopy embeddings(a.embeddings), anchor(a.anchor), norms(a.norms), weights(a.weights);
  embeddings.read(*ctx.device);
  Workspace scratch(Pages(a.embeddings.shape[1] * static_cast<int64_t>(sizeof(double)) + 256));
  Context host{ctx.backend, ctx.pool, scratch};
  cpu::identity_anchor(host, {embeddings.tensor(), a.temperature, anchor.tensor(), norms.tensor(), weights.tensor()});
  anchor.write(*ctx.device);
  norms.write(*ctx.device);
  weights.write(*ctx.device);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
