// linear in e4m3 by wgmma (linear_wgmma.cuh): sm_90a.
#include "cuda/linear/linear_wgmma.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

bool linear_wgmma_e4m3(Context& ctx, const LinearProblems& p) {
  // Sums that are kept twice leave no registers for 256 columns.
  using Large = WgmmaTile<e4m3, 192, 5>;
  using Small = WgmmaTile<e4m3, 128, 6>;
  const int multiprocessors = device_of(ctx).multiprocessors();
  return wgmma_time<Large>(p, multiprocessors, 1.0) <= wgmma_time<Small>(p, multiprocessors, 0.9)
             ? run_wgmma<Large>(ctx, p)
             : run_wgmma<Small>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
