// linear in bf16 by mma.sync (linear_mma.cuh): sm_80 and later.
#include "cuda/linear/linear_mma.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {
// All fit into the 99 KB of shared memory that a block may have on sm_86, 89 and 120.
using Large = MmaTile<bf16, 128, 256, 64, 2, 4, 4>;
using Middle = MmaTile<bf16, 128, 128, 64, 2, 2, 4>;
using Small = MmaTile<bf16, 64, 64, 128, 2, 2, 4>;
}  // namespace

bool linear_mma(Context& ctx, const LinearProblems& p) {
  // Small tiles read each operand more often from the L2 cache and from shared memory, but fill the machine better.
  const int64_t multiprocessors = device_of(ctx).multiprocessors();
  const double large = mma_time<Large>(p, multiprocessors, 1.0), middle = mma_time<Middle>(p, multiprocessors, 0.9),
               small = mma_time<Small>(p, multiprocessors, 0.6);
  if (!copies_directly<bf16>(p))
    return middle <= small ? run_mma<Middle, false>(ctx, p) : run_mma<Small, false>(ctx, p);
  if (large <= middle && large <= small) return run_mma<Large, true>(ctx, p);
  return middle <= small ? run_mma<Middle, true>(ctx, p) : run_mma<Small, true>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
