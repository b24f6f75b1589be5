// linear in e4m3 by mma.sync (linear_mma.cuh): sm_89 and later.
#include "cuda/linear/linear_mma.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {
// Of 96 and 64 KB of shared memory. Sums that are kept twice leave no registers for a larger tile.
using Large = MmaTile<e4m3, 128, 128, 128, 2, 4, 3>;
using Small = MmaTile<e4m3, 64, 64, 128, 2, 2, 4>;
}  // namespace

bool linear_mma_e4m3(Context& ctx, const LinearProblems& p) {
  const int64_t multiprocessors = device_of(ctx).multiprocessors();
  const bool large = mma_time<Large>(p, multiprocessors, 1.0) <= mma_time<Small>(p, multiprocessors, 0.6);
  if (copies_directly<e4m3>(p)) return large ? run_mma<Large, true>(ctx, p) : run_mma<Small, true>(ctx, p);
  return large ? run_mma<Large, false>(ctx, p) : run_mma<Small, false>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
