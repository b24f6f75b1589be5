// linear: out = epilogue(x W^T). Which kernel does it: a few rows, f32, bf16 or e4m3.
#include "cuda/kernels.h"
#include "cuda/linear.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int64_t kFewRows = 4;

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
  return p;
}

}  // namespace

void linear(Context& ctx, const op::LinearArgs& a) {
  if (ctx.planning()) return;
  const LinearProblem p = problem_of(a);
  const bool hopper = device_of(ctx).architecture() == 90;
  if (p.x_type == DType::F8E4M3) {
    if (!hopper || !linear_wgmma_e4m3(ctx, p)) linear_mma_e4m3(ctx, p);
  } else if (p.m <= kFewRows) {
    linear_few_rows(ctx, p);
  } else if (p.x_type == DType::F32) {
    linear_fma(ctx, p);
  } else if (!hopper || !linear_wgmma(ctx, p)) {
    linear_mma(ctx, p);
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
