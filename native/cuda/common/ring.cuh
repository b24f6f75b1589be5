// A ring of stages in shared memory between a producer (TMA) and consumers (wgmma), by full and empty mbarriers.
#pragma once
#include "cuda/common/ptx.cuh"

#ifdef ICONFACE_SM90A
namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// A stage of the ring and the parity of its barriers' phase. Consumers wait for full at `parity`, the producer for
/// empty at the other: a fresh ring is empty.
template <int kStages>
struct RingPosition {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

__device__ __forceinline__ void wait_for(uint64_t* barrier, uint32_t parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
#endif
