// attention: softmax(scale q k^T) v over segments. Chooses the kernel: tensor cores for bf16, else exact f32.
#include <cmath>

#include "cuda/attention/attention.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

AttentionRun run_of(const Tensor& t) { return {t.data, t.stride[0], t.stride[1], t.stride[2]}; }

bool aligned(const AttentionRun& r, int bytes, int element_bytes) {
  return reinterpret_cast<uintptr_t>(r.data) % bytes == 0 && r.batch_stride * element_bytes % bytes == 0 &&
         r.token_stride * element_bytes % bytes == 0 && r.head_stride * element_bytes % bytes == 0;
}

}  // namespace

void attention(Context& ctx, const op::AttentionArgs& a) {
  if (ctx.planning()) return;
  AttentionProblem p = {};
  DType type = DType::F32;
  bool direct = true;
  int key_heads = 1;
  for (int i = 0; i < a.segments; i++) {
    const op::AttentionSegment& s = a.segment[i];
    if (s.q.defined()) {
      const int at = p.query_segments++;
      p.queries[at] = static_cast<int>(s.q.shape[1]);
      p.q[at] = run_of(s.q);
      p.out[at] = run_of(s.out);
      p.out_type[at] = s.out.dtype;
      p.heads = static_cast<int>(s.q.shape[2]);
      p.wide_out[at] = aligned(p.out[at], 8, static_cast<int>(dtype_bytes(s.out.dtype)));
      direct = direct && aligned(p.q[at], 16, 2);
    }
    if (s.k.defined()) {
      const int at = p.key_segments++;
      p.batch = static_cast<int>(s.k.shape[0]);
      p.keys[at] = static_cast<int>(s.k.shape[1]);
      p.k[at] = run_of(s.k);
      p.v[at] = run_of(s.v);
      type = s.k.dtype;
      key_heads = static_cast<int>(s.k.shape[2]);
      p.d = static_cast<int>(s.k.shape[3]);
      direct = direct && aligned(p.k[at], 16, 2) && aligned(p.v[at], 16, 2);
    }
  }
  p.group = p.heads / key_heads;
  p.causal = a.causal;
  p.scale = (a.scale > 0 ? a.scale : 1.0f / std::sqrt(static_cast<float>(p.d))) * 1.44269504f;
  if (type != DType::BF16 || !direct || p.d % 16 != 0 || p.d > 512)
    attention_fma(ctx, p, type);
  else if (p.d != 128 || p.causal || p.group > 1 || device_of(ctx).architecture() != 90 || !attention_wgmma(ctx, p))
    attention_mma(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
