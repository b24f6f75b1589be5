// peak_flops: accumulators of one register each, more than latency x pipes of any CPU, multiplied and added with
// operands that stay in registers. 3.7 GHz x 16 lanes x 2 = 118 GFLOP/s per core of a Zen 4 in f32, twice that in bf16
// pairs.
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int kAccumulators = kLanes == 16 ? 24 : 12;  // of 32 or 16 registers
constexpr int kItemOperations = 1 << 20;               // per item, about

struct MultiplyAdd {
  static constexpr int kFlops = 2 * kLanes;
  F a, b;
  MultiplyAdd() : a(splat(0.9993f)), b(splat(0.37f)) {}
  ICONFACE_INLINE F operator()(F sum) const { return sum * a + b; }
};

#if defined(__AVX512BF16__)
struct DotPairs {
  static constexpr int kFlops = 4 * kLanes;
  U a, b;
  DotPairs() : a(U{} + 0x3f5d3e91u), b(U{} + 0x3dcd3ca4u) {}  // 0.86, 0.28 and 0.1, 0.02
  ICONFACE_INLINE F operator()(F sum) const { return dot_pairs(sum, a, b); }
};
#else
using DotPairs = MultiplyAdd;
#endif

/// One item: every accumulator `kIterations` times. The sum is what keeps the compiler from leaving it out.
template <class Step>
struct Chain {
  static constexpr int64_t kIterations = kItemOperations / (kAccumulators * Step::kFlops);
  static constexpr int64_t kFlops = kIterations * kAccumulators * Step::kFlops;

  static float run(float start) {
    const Step step;
    F sums[kAccumulators];
    for (int i = 0; i < kAccumulators; i++) sums[i] = splat(start + static_cast<float>(i));
    for (int64_t n = 0; n < kIterations; n++)
#pragma GCC unroll 24
      for (int i = 0; i < kAccumulators; i++) sums[i] = step(sums[i]);
    F total{};
    for (int i = 0; i < kAccumulators; i++) total += sums[i];
    return sum(total);
  }
};

template <class Step>
int64_t chains(Context& ctx, int64_t rounds) {
  Workspace::Frame frame(ctx.workspace);
  float* results = static_cast<float*>(ctx.workspace.bytes(64 * ctx.pool.workers()));  // a cache line each
  const int64_t items = rounds * ctx.pool.workers();
  if (ctx.planning()) return 0;
  parallel_for(ctx.pool, items,
               [&](int64_t item, int worker) { results[16 * worker] = Chain<Step>::run(static_cast<float>(item)); });
  return items * Chain<Step>::kFlops;
}

}  // namespace

int64_t peak_flops(Context& ctx, const op::PeakFlopsArgs& a) {
  return a.dtype == DType::BF16 ? chains<DotPairs>(ctx, a.rounds) : chains<MultiplyAdd>(ctx, a.rounds);
}

}  // namespace iconface::cpu::ICONFACE_ISA
