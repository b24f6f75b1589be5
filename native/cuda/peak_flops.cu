// peak_flops: the arithmetic that benchmarks divide by.
// F32: kSums chains of fused multiply-adds per thread, in registers.
// BF16 and F8_E4M3: kSums chains of mma.sync m16n8 with 32 bytes of K per warp, in registers; on Hopper wgmma m64n256
// with as many by two warpgroups per multiprocessor, operands in shared memory. A round of e4m3 is twice as many
// operations.
//
// Work split: kBlocks blocks of 256 threads per multiprocessor (wgmma: one). Must move: nothing.
// Limit: it is the limit.
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"
#include "cuda/common/ptx.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256, kBlocks = 4, kSums = 8;
constexpr int64_t kBlockFlops = 1 << 20;  // of a block in one round, about a million

constexpr int kMultiplyAdds = kBlockFlops / (2 * kThreads * kSums);
__global__ void __launch_bounds__(kThreads) fma_chains_kernel(float* results, int64_t rounds, float a, float b) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  float sums[kSums];
#pragma unroll
  for (int i = 0; i < kSums; i++) sums[i] = static_cast<float>(thread + i);
  for (int64_t n = 0; n < rounds * kMultiplyAdds; n++)
#pragma unroll
    for (int i = 0; i < kSums; i++) sums[i] = sums[i] * a + b;
  float total = 0;
#pragma unroll
  for (int i = 0; i < kSums; i++) total += sums[i];
  results[thread] = total;
}

constexpr int kMmas = kBlockFlops / (2 * 16 * 8 * 16 * (kThreads / 32) * kSums);
template <bool kE4m3>
__global__ void __launch_bounds__(kThreads) mma_chains_kernel(float* results, int64_t rounds, float a, float b) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  // Operands that differ from thread to thread: power, and with it the clock, depends on the data.
  const float varied = a * (0.5f + static_cast<float>(threadIdx.x % 29) / 29);
  const auto pack = [](float first, float second) -> uint32_t {
    if constexpr (kE4m3)
      return pack_e4m3(first, second) * 0x10001u;
    else
      return pack_bf16(first, second);
  };
  const uint32_t x[4] = {pack(varied, -a), pack(-b, varied), pack(a, b), pack(-varied, b)};
  const uint32_t w[2] = {pack(b, -varied), pack(varied, a)};
  float sums[kSums][4] = {};
  for (int64_t n = 0; n < rounds * kMmas; n++)
#pragma unroll
    for (int i = 0; i < kSums; i++) {
      if constexpr (kE4m3)
        mma_m16n8k32_e4m3(sums[i], x, w);
      else
        mma_m16n8k16_bf16(sums[i], x, w);
    }
  float total = 0;
#pragma unroll
  for (int i = 0; i < kSums; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) total += sums[i][j];
  results[thread] = total;
}

// One block a multiprocessor does in a round what kBlocks blocks of the kernels above do.
constexpr int kWgmmaK = 64 /* of bf16: rows of 128 bytes */, kWgmmaRows = 64 * (kThreads / 128), kWgmmaColumns = 256;
constexpr int kWgmmaBytes = 2 * (kWgmmaRows + kWgmmaColumns) * kWgmmaK;
static_assert(2 * kWgmmaRows * kWgmmaColumns * kWgmmaK == kBlocks * kBlockFlops);
template <bool kE4m3>
__global__ void __launch_bounds__(kThreads, 1) wgmma_chains_kernel(float* results, int64_t rounds, float a, float b) {
#ifdef ICONFACE_SM90A
  uint16_t* const x = shared_memory<uint16_t>();
  uint16_t* const w = x + kWgmmaRows * kWgmmaK;
  // Every mantissa and both signs, as data have them: power, and with it the clock, depends on the data.
  for (int i = static_cast<int>(threadIdx.x); i < (kWgmmaRows + kWgmmaColumns) * kWgmmaK; i += kThreads) {
    const uint32_t bits = static_cast<uint32_t>(i + 1) * 2654435761u;
    const float first = (static_cast<float>(bits >> 8) / (1 << 23) - a) * b;
    if constexpr (kE4m3)
      x[i] = pack_e4m3(first, (static_cast<float>(bits & 0xffffff) / (1 << 23) - a) * b);
    else
      x[i] = bits_of(to_bf16(first));
  }
  fence_proxy_async();
  __syncthreads();
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  const uint64_t rows = wgmma_descriptor(x + warpgroup * 64 * kWgmmaK, 0, 1024), columns = wgmma_descriptor(w, 0, 1024);
  float sums[kWgmmaColumns / 8][4];
  for (int64_t n = 0; n < rounds; n++) {
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kWgmmaK / 16; k++) {
      if constexpr (kE4m3)
        wgmma_step_e4m3(sums, rows + 2 * k, columns + 2 * k, n > 0 || k > 0);
      else
        wgmma_step(sums, rows + 2 * k, columns + 2 * k, n > 0 || k > 0);
    }
    wgmma_commit();
    wgmma_wait<1>();
  }
  wgmma_wait<0>();
  wgmma_finished(sums);
  float total = 0;
#pragma unroll
  for (int i = 0; i < kWgmmaColumns / 8; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) total += sums[i][j];
  results[static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x] = total;
#endif
}

}  // namespace

int64_t peak_flops(Context& ctx, const op::PeakFlopsArgs& a) {
  const int64_t blocks = int64_t{kBlocks} * device_of(ctx).multiprocessors();
  Workspace::Frame frame(ctx.workspace);
  float* results = static_cast<float*>(ctx.workspace.bytes(blocks * kThreads * sizeof(float)));
  if (ctx.planning()) return 0;
  const bool e4m3 = a.dtype == DType::F8E4M3;
  if (a.dtype != DType::F32 && device_of(ctx).architecture() == 90)
    launch(ctx, e4m3 ? wgmma_chains_kernel<true> : wgmma_chains_kernel<false>,
           dim3(static_cast<unsigned>(blocks / kBlocks)), dim3(kThreads), kWgmmaBytes, results, a.rounds, 0.9993f,
           0.37f);
  else
    launch(ctx,
           e4m3                     ? mma_chains_kernel<true>
           : a.dtype == DType::BF16 ? mma_chains_kernel<false>
                                    : fma_chains_kernel,
           dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, results, a.rounds, 0.9993f, 0.37f);
  return blocks * a.rounds * kBlockFlops * (e4m3 ? 2 : 1);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
