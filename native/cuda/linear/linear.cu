// linear: out = epilogue(x W^T). Chooses the kernel: few rows, f32, bf16 or e4m3. On tensor cores a group of products
// is one launch.
#include "cuda/kernels.h"
#include "cuda/linear/linear.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kFewRows = 4;

LinearProblem problem_of(const op::LinearArgs& a) {
  LinearProblem p = {};
  p.x = Rows::of(a.x);
  p.out = Rows::of(a.out);
  p.weight = a.weight.data;
  p.weight_stride = a.weight.stride[0];
  p.x_type = a.x.dtype;
  p.weight_type = a.weight.dtype;
  p.out_type = a.out.dtype;
  p.m = static_cast<int>(a.x.rows());
  p.n = static_cast<int>(a.out.last());
  p.k = static_cast<int>(a.x.last());
  p.bias = a.bias.defined() ? a.bias.as<const float>() : nullptr;
  p.activation = a.activation;
  p.accumulate = a.accumulate;
  if (a.x_scale.defined()) p.x_scale = Rows::of(a.x_scale);
  p.weight_scale = a.weight_scale.defined() ? a.weight_scale.as<const float>() : nullptr;
  p.tokens = a.out.rank > 1 ? static_cast<int>(a.out.shape[a.out.rank - 2]) : 1;
  p.gates = a.gate.count;
  const auto aligned = [](const void* at) { return reinterpret_cast<uintptr_t>(at) % 16 == 0; };
  p.wide_out = p.n % 4 == 0 && p.out.aligned(16, static_cast<int>(dtype_bytes(p.out_type)));
  for (int i = 0; i < a.gate.count; i++) {
    p.gate[i] = a.gate.vector[i].as<const float>();
    p.gate_end[i] = (i > 0 ? p.gate_end[i - 1] : 0) + static_cast<int>(a.gate.rows[i]);
    p.wide_out = p.wide_out && aligned(p.gate[i]);
  }
  const op::LinearHeads& heads = a.heads;
  if (!heads.defined() || heads.d() != kHeadChannels) return p;
  p.q_scale = heads.q > 0 ? heads.q_scale.as<const float>() : nullptr;
  p.k_scale = heads.k > 0 ? heads.k_scale.as<const float>() : nullptr;
  if (!aligned(p.q_scale) || !aligned(p.k_scale)) return p;
  p.q_end = static_cast<int>(heads.q) * kHeadChannels;
  p.k_end = p.q_end + static_cast<int>(heads.k) * kHeadChannels;
  p.cos = heads.cos.as<const float>();
  p.sin = heads.sin.as<const float>();
  p.cos_stride = heads.cos.stride[0];
  p.sin_stride = heads.sin.stride[0];
  return p;
}

/// Products of one kernel, and which of the group's they are.
struct Sorted {
  LinearProblems problems;
  const op::LinearArgs* from[op::LinearGroup::kMax];

  void add(const LinearProblem& p, const op::LinearArgs& a) {
    from[problems.count] = &a;
    problems.add(p);
  }
  /// Launches them, then what the launch has left of their heads.
  void run(Context& ctx, bool (*kernel)(Context&, const LinearProblems&)) {
    if (problems.count == 0) return;
    const bool heads_done = kernel(ctx, problems);
    for (int i = 0; i < problems.count; i++)
      if (!heads_done || problems.product[i].k_end == 0) rotate(ctx, *from[i]);
  }
  static void rotate(Context& ctx, const op::LinearArgs& a) {
    if (a.heads.defined()) ICONFACE_CUDA_TARGET::qk_norm_rope(ctx, op::qk_norm_rope_of(a));
  }
};

}  // namespace

void linear(Context& ctx, const op::LinearGroup& g) {
  if (ctx.planning()) return;
  const bool hopper = device_of(ctx).architecture() == 90, e4m3 = g.product[0].x.dtype == DType::F8E4M3;
  Sorted wgmma, mma;
  for (int i = 0; i < g.count; i++) {
    const op::LinearArgs& a = g.product[i];
    const LinearProblem p = problem_of(a);
    if (!e4m3 && (p.m <= kFewRows || p.x_type == DType::F32)) {
      p.m <= kFewRows ? linear_few_rows(ctx, p) : linear_fma(ctx, p);
      Sorted::rotate(ctx, a);
    } else {
      (hopper && suits_wgmma(p) ? wgmma : mma).add(p, a);
    }
  }
  wgmma.run(ctx, e4m3 ? linear_wgmma_e4m3 : linear_wgmma);
  mma.run(ctx, e4m3 ? linear_mma_e4m3 : linear_mma);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
