// random_normal: standard normal noise with the bits that PyTorch users know, for its two generators.
//   TorchCuda  element i: Philox4x32-10 (Salmon et al., SC 2011), key = seed, counter = (0, 0, i mod 2^32, i / 2^32);
//              u = (x0 + 1/2) / 2^32, v = 2 pi (x1 + 1/2) / 2^32, sqrt(-2 ln u) sin v. PyTorch numbers elements by
//              thread, so this is torch.randn for tensors that the GPU holds at once (one element per thread).
//   TorchCpu   MT19937 (Matsumoto and Nishimura, 1998), seeded with the low 32 bits. 16 elements and more: 24-bit
//              uniforms for the whole tensor, then Box-Muller on blocks of 16, whose first 8 give the radii (1 - u) and
//              last 8 the angles; cosines go to the first half, sines to the second. A tail that is no whole block
//              redraws the last 16 elements. Fewer than 16: 53-bit uniforms, one pair (angle, radius) for two elements.
// Every float operation is rounded as PyTorch's is; logarithm, sine and cosine are taken in double and rounded once, so
// that the results differ from a given PyTorch build by the last bits of its float functions only (relative 3e-7).
// 20 (TorchCpu) to 40 ns an element on one thread; MT19937 itself is serial. A 512 px latent has 131,072 elements.
#include <algorithm>
#include <cmath>

#include "cpu/kernels.h"

namespace iconface::cpu {

namespace {

constexpr double kTwoPi = 6.283185307179586476925286766559;

float log_f32(float x) { return static_cast<float>(std::log(static_cast<double>(x))); }
float sin_f32(float x) { return static_cast<float>(std::sin(static_cast<double>(x))); }
float cos_f32(float x) { return static_cast<float>(std::cos(static_cast<double>(x))); }

// ---- Philox4x32-10 --------------------------------------------------------------------------------------------------

struct Block4x32 {
  uint32_t x[4];
};

Block4x32 philox4x32_10(Block4x32 counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t a = 0xd2511f53ull * counter.x[0], b = 0xcd9e8d57ull * counter.x[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.x[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.x[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return counter;
}

float torch_cuda_element(uint64_t seed, uint64_t index) {
  const Block4x32 random = philox4x32_10({{0, 0, static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32)}},
                                         static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  constexpr float kAngle = static_cast<float>(kTwoPi * 0x1p-32);
  const float u = static_cast<float>(random.x[0]) * 0x1p-32f + 0x1p-33f;
  // Product and sum are rounded one by one; the conversion keeps compilers from fusing them.
  const float scaled = static_cast<float>(static_cast<double>(static_cast<float>(random.x[1])) * kAngle);
  return std::sqrt(-2.0f * log_f32(u)) * sin_f32(scaled + kAngle * 0.5f);
}

void torch_cuda(Context& ctx, uint64_t seed, float* out, int64_t n) {
  constexpr int64_t kItem = 4096;
  parallel_for(ctx.pool, (n + kItem - 1) / kItem, [&](int64_t item, int) {
    const int64_t end = std::min(n, (item + 1) * kItem);
    for (int64_t i = item * kItem; i < end; i++) out[i] = torch_cuda_element(seed, i);
  });
}

// ---- MT19937 --------------------------------------------------------------------------------------------------------

class MersenneTwister {
 public:
  explicit MersenneTwister(uint32_t seed) {
    state_[0] = seed;
    for (uint32_t i = 1; i < kSize; i++) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }

  float uniform24() { return static_cast<float>(next() & 0xffffff) * 0x1p-24f; }
  double uniform53() {
    const uint64_t high = next();
    return static_cast<double>(((high << 32) | next()) & ((1ull << 53) - 1)) * 0x1p-53;
  }

 private:
  static constexpr uint32_t kSize = 624, kMiddle = 397;

  uint32_t next() {
    if (position_ == kSize) {
      for (uint32_t i = 0; i < kSize; i++) {
        const uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kSize] & 0x7fffffffu);
        state_[i] = state_[(i + kMiddle) % kSize] ^ (y >> 1) ^ ((y & 1) * 0x9908b0dfu);
      }
      position_ = 0;
    }
    uint32_t y = state_[position_++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
  }

  uint32_t state_[kSize];
  uint32_t position_ = kSize;
};

/// 16 uniforms in, 16 normals out.
void box_muller_16(float* x) {
  for (int i = 0; i < 8; i++) {
    const float radius = std::sqrt(-2.0f * log_f32(1.0f - x[i]));
    const float angle = static_cast<float>(kTwoPi) * x[i + 8];
    x[i] = radius * cos_f32(angle);
    x[i + 8] = radius * sin_f32(angle);
  }
}

void torch_cpu_large(Context& ctx, MersenneTwister& random, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = random.uniform24();
  const int64_t blocks = n / 16;
  constexpr int64_t kItem = 256;
  parallel_for(ctx.pool, (blocks + kItem - 1) / kItem, [&](int64_t item, int) {
    const int64_t end = std::min(blocks, (item + 1) * kItem);
    for (int64_t b = item * kItem; b < end; b++) box_muller_16(out + b * 16);
  });
  if (n % 16 == 0) return;
  for (int64_t i = n - 16; i < n; i++) out[i] = random.uniform24();
  box_muller_16(out + n - 16);
}

void torch_cpu_small(MersenneTwister& random, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i += 2) {
    const double angle = kTwoPi * random.uniform53();
    const double radius = std::sqrt(-2.0 * std::log1p(-random.uniform53()));
    out[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < n) out[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace

void random_normal(Context& ctx, const op::RandomNormalArgs& a) {
  if (ctx.planning()) return;
  float* out = a.out.as<float>();
  const int64_t n = a.out.elements();
  if (a.generator == op::Generator::TorchCuda) return torch_cuda(ctx, a.seed, out, n);
  MersenneTwister random(static_cast<uint32_t>(a.seed));
  if (n >= 16)
    torch_cpu_large(ctx, random, out, n);
  else
    torch_cpu_small(random, out, n);
}

}  // namespace iconface::cpu
