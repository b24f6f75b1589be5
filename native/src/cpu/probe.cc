// probe: the limits that benchmarks divide by.
//   peak_flops: accumulators of one register each, more than latency x pipes of any processor, multiplied and added
//     with operands that stay in registers. 3.7 GHz x 16 lanes x 2 = 118 GFLOP/s per core of a Zen 4 in f32, twice that
//     in bf16 pairs.
//   stream_copy: x read once, out written once; streaming stores spare the read of out that an ordinary store of a
//     line begins with, and are slower where everything fits in the caches.
#include "op/probe.h"

#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

constexpr int kAccumulators = kLanes == 16 ? 24 : 12;  // of 32 or 16 registers
constexpr int kUnitOperations = 1 << 20;               // per unit, about

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

/// One unit: every accumulator `kIterations` times. The sum is what keeps the compiler from leaving it out.
template <class Step>
struct Chain {
  static constexpr int64_t kIterations = kUnitOperations / (kAccumulators * Step::kFlops);
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
  const int64_t units = rounds * ctx.pool.workers();
  if (ctx.planning()) return 0;
  parallel_for(ctx.pool, units,
               [&](int64_t unit, int worker) { results[16 * worker] = Chain<Step>::run(static_cast<float>(unit)); });
  return units * Chain<Step>::kFlops;
}

ICONFACE_INLINE void store_past_caches(float* p, F v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)v);
#else
  store(p, v);
#endif
}

}  // namespace

int64_t peak_flops(Context& ctx, const op::PeakFlopsArgs& a) {
  return a.dtype == DType::BF16 ? chains<DotPairs>(ctx, a.rounds) : chains<MultiplyAdd>(ctx, a.rounds);
}

void stream_copy(Context& ctx, const op::StreamCopyArgs& a) {
  if (ctx.planning()) return;
  const float* x = a.x.as<float>();
  float* out = a.out.as<float>();
  const int64_t n = a.x.elements(), block = 1 << 16;
  parallel_for(ctx.pool, (n + block - 1) / block, [&](int64_t unit, int) {
    const int64_t end = (unit + 1) * block < n ? (unit + 1) * block : n;
    int64_t i = unit * block;
    if (a.streaming) {
      for (; i + kLanes <= end; i += kLanes) store_past_caches(out + i, load(x + i));
    } else {
      for (; i + kLanes <= end; i += kLanes) store(out + i, load(x + i));
    }
    for (; i < end; i++) out[i] = x[i];
#if defined(__x86_64__)
    if (a.streaming) _mm_sfence();
#endif
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
