// linear in bf16 by wgmma (linear_wgmma.cuh): sm_90a.
#include "cuda/linear/linear_wgmma.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

bool suits_wgmma(const LinearProblem& p) {
  TensorMap x, weight;
  return p.weight_type == p.x_type && p.x.levels <= 2 && p.m >= 64 && make_linear_maps(p, 128, 64, &x, &weight);
}

bool linear_wgmma(Context& ctx, const LinearProblems& p) {
  using Large = WgmmaTile<bf16, 256, 4>;
  using Middle = WgmmaTile<bf16, 192, 5>;
  using Small = WgmmaTile<bf16, 128, 6>;
  // Narrow tiles read x more often from shared memory and the L2 cache, but divide the columns more evenly.
  const int multiprocessors = device_of(ctx).multiprocessors();
  const double large = wgmma_time<Large>(p, multiprocessors, 1.0),
               middle = wgmma_time<Middle>(p, multiprocessors, 0.97),
               small = wgmma_time<Small>(p, multiprocessors, 0.85);
  if (large <= middle && large <= small) return run_wgmma<Large>(ctx, p);
  return middle <= small ? run_wgmma<Middle>(ctx, p) : run_wgmma<Small>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
