// random_normal: standard normal noise with PyTorch's bits, for its two generators.
// What they are: cpu/host/random_normal.cc.
// Every f32 operation is rounded as there, logarithm, sine and cosine are taken in double and rounded once.
//
// TorchCuda, work split: a thread per element, which makes its own Philox block. Must move: out (512 px: 0.5 MB).
// Limit: double arithmetic.
// TorchCpu, work split: one block twists MT19937's 624 words, in three runs of threads between barriers since word i
// needs word i - 227 of the same state, and writes them out; then a thread per pair of elements transforms them. Must
// move: the words twice, out once (1.5 MB). Limit: the barriers, 633 of them in 211 states for 512 px, some 60 us.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr double kTwoPi = 6.283185307179586476925286766559;

__device__ __forceinline__ float log_f32(float x) { return static_cast<float>(log(static_cast<double>(x))); }
__device__ __forceinline__ float sin_f32(float x) { return static_cast<float>(sin(static_cast<double>(x))); }
__device__ __forceinline__ float cos_f32(float x) { return static_cast<float>(cos(static_cast<double>(x))); }

// ---- Philox4x32-10 --------------------------------------------------------------------------------------------------

/// The first two words of the block with this counter.
__device__ uint2 philox4x32_10(uint4 counter, uint2 key) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    constexpr unsigned kA = 0xd2511f53u, kB = 0xcd9e8d57u;
    counter = {__umulhi(kB, counter.z) ^ counter.y ^ key.x, kB * counter.z, __umulhi(kA, counter.x) ^ counter.w ^ key.y,
               kA * counter.x};
    key = {key.x + 0x9e3779b9u, key.y + 0xbb67ae85u};
  }
  return {counter.x, counter.y};
}

__global__ void __launch_bounds__(kThreads) philox_kernel(uint2 key, float* out, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const uint2 random = philox4x32_10({0, 0, static_cast<unsigned>(i), static_cast<unsigned>(i >> 32)}, key);
  constexpr float kAngle = static_cast<float>(kTwoPi * 0x1p-32);
  const float u = static_cast<float>(random.x) * 0x1p-32f + 0x1p-33f;
  const float angle = __fadd_rn(__fmul_rn(static_cast<float>(random.y), kAngle), kAngle * 0.5f);
  out[i] = sqrtf(-2.0f * log_f32(u)) * sin_f32(angle);
}

// ---- MT19937 --------------------------------------------------------------------------------------------------------

constexpr int kState = 624, kRun = 227;  // words of a state; how far back a word looks within its own

__device__ __forceinline__ uint32_t temper(uint32_t y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

/// The generator's first `count` words.
__global__ void __launch_bounds__(kThreads) twister_kernel(uint32_t seed, uint32_t* words, int64_t count) {
  uint32_t *state = shared_memory<uint32_t>(), *next = state + kState;
  if (threadIdx.x == 0) {
    state[0] = seed;
    for (uint32_t i = 1; i < kState; i++) {
      seed = 1812433253u * (seed ^ (seed >> 30)) + i;
      state[i] = seed;
    }
  }
  __syncthreads();
  for (int64_t first = 0; first < count; first += kState) {
    for (int begin = 0; begin < kState; begin += kRun) {
      const int i = begin + static_cast<int>(threadIdx.x);
      if (threadIdx.x < kRun && i < kState) {
        const uint32_t y = (state[i] & 0x80000000u) | ((i + 1 < kState ? state[i + 1] : next[0]) & 0x7fffffffu);
        const uint32_t word =
            (i < kRun ? state[i + kState - kRun] : next[i - kRun]) ^ (y >> 1) ^ ((y & 1) * 0x9908b0dfu);
        next[i] = word;
        if (first + i < count) words[first + i] = temper(word);
      }
      __syncthreads();
    }
    uint32_t* twisted = next;
    next = state;
    state = twisted;
  }
}

/// Blocks of 16 words to 16 normals: radii from the first half, angles from the second. A tail that is no whole block
/// is drawn again, as the last 16 elements, from the 16 words behind.
__global__ void __launch_bounds__(kThreads) box_muller_kernel(const uint32_t* words, float* out, int64_t count) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x, block = pair / 8;
  const bool ragged = count % 16 != 0, tail = block == count / 16;
  if (block > count / 16 || (tail && !ragged)) return;
  words += tail ? count : block * 16;
  const auto uniform = [&](int64_t i) { return static_cast<float>(words[i] & 0xffffff) * 0x1p-24f; };
  const int64_t i = pair % 8, at = (tail ? count - 16 : block * 16) + i, end = ragged && !tail ? count - 16 : count;
  const float radius = sqrtf(-2.0f * log_f32(1.0f - uniform(i)));
  const float angle = static_cast<float>(kTwoPi) * uniform(i + 8);
  if (at < end) out[at] = radius * cos_f32(angle);
  if (at + 8 < end) out[at + 8] = radius * sin_f32(angle);
}

constexpr int64_t kSmall = 16;  // fewer elements than this are made from 53-bit uniforms, a thread per pair

__global__ void __launch_bounds__(kSmall / 2) small_kernel(const uint32_t* words, float* out, int64_t count) {
  const int64_t i = 2 * threadIdx.x;
  if (i >= count) return;
  words += 2 * i;
  const auto uniform = [&](int n) {
    const uint64_t both = static_cast<uint64_t>(words[2 * n]) << 32 | words[2 * n + 1];
    return static_cast<double>(both & ((1ull << 53) - 1)) * 0x1p-53;
  };
  const double angle = kTwoPi * uniform(0), radius = sqrt(-2.0 * log1p(-uniform(1)));
  out[i] = static_cast<float>(radius * cos(angle));
  if (i + 1 < count) out[i + 1] = static_cast<float>(radius * sin(angle));
}

void torch_cpu(Context& ctx, const op::RandomNormalArgs& a) {
  const int64_t n = a.out.elements();
  const int64_t count = n < kSmall ? (n + 1) / 2 * 4 : n + (n % 16 == 0 ? 0 : 16);
  Workspace::Frame frame(ctx.workspace);
  auto* words = static_cast<uint32_t*>(ctx.workspace.bytes(count * static_cast<int64_t>(sizeof(uint32_t))));
  if (ctx.planning() || n == 0) return;
  launch(ctx, twister_kernel, dim3(1), dim3(kThreads), 2 * kState * sizeof(uint32_t), static_cast<uint32_t>(a.seed),
         words, count);
  if (n < kSmall)
    launch(ctx, small_kernel, dim3(1), dim3(kSmall / 2), 0, words, a.out.as<float>(), n);
  else
    launch(ctx, box_muller_kernel, dim3(blocks_for(n / 16 * 8 + 8, kThreads)), dim3(kThreads), 0, words,
           a.out.as<float>(), n);
}

}  // namespace

void random_normal(Context& ctx, const op::RandomNormalArgs& a) {
  if (a.generator == op::Generator::TorchCpu) return torch_cpu(ctx, a);
  if (ctx.planning()) return;
  const uint2 key = {static_cast<unsigned>(a.seed), static_cast<unsigned>(a.seed >> 32)};
  launch(ctx, philox_kernel, dim3(blocks_for(a.out.elements(), kThreads)), dim3(kThreads), 0, key, a.out.as<float>(),
         a.out.elements());
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
