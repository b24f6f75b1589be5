#define ICONFACE_CUDA_TARGET emulated
#include "emulator/ptx.h"

#include "base/e4m3.h"
#include "emulator/cluster.h"

#define CALLER __builtin_return_address(0)

namespace iconface::emulator {

namespace {

constexpr int kWarp = Cluster::kWarp;
using Lanes = const void* const (&)[kWarp];
using Results = void* const (&)[kWarp];

float bf16_to_float(uint32_t bits) { return same_bits<float>(bits << 16); }

/// Element `half` (0 or 1) of a pair of bf16.
float of_pair(uint32_t pair, int half) { return bf16_to_float(half == 0 ? pair & 0xffffu : pair >> 16); }

struct Rows {
  const char* row;
  const void* caller;
};

/// Matrix i: rows from lanes 8i .. 8i+7; lane l receives elements 2(l%4), 2(l%4)+1 of row l/4, or, transposed, of
/// column l/4.
template <int kMatrices, bool kTransposed>
void load_matrices(Cluster& cluster, unsigned mask, Lanes in, Results out) {
  if (mask != 0xffffffffu)
    cluster.report("ldmatrix needs all 32 lanes", static_cast<const Rows*>(in[cluster.lane()])->caller);
  for (int lane = 0; lane < 8 * kMatrices; lane++) {
    const Rows& r = *static_cast<const Rows*>(in[lane]);
    cluster.act_as_lane(lane);
    if (reinterpret_cast<uintptr_t>(r.row) % 16 != 0)
      cluster.report("ldmatrix from a row that is not aligned to 16 bytes", r.caller);
    if (static_cast<size_t>(r.row - cluster.shared()) >= Cluster::kMaxShared)
      cluster.report("ldmatrix from a row that is not in shared memory", r.caller);
    cluster.access(r.row, 16, Cluster::Access::Read, r.caller);
  }
  const auto element = [&](int matrix, int row, int column) -> uint32_t {
    uint16_t bits;
    memcpy(&bits, static_cast<const Rows*>(in[8 * matrix + row])->row + 2 * column, 2);
    return bits;
  };
  for (int lane = 0; lane < kWarp; lane++)
    for (int m = 0; m < kMatrices; m++) {
      const int major = lane / 4, minor = 2 * (lane % 4);
      const uint32_t low = kTransposed ? element(m, minor, major) : element(m, major, minor);
      const uint32_t high = kTransposed ? element(m, minor + 1, major) : element(m, major, minor + 1);
      static_cast<uint32_t*>(out[lane])[m] = low | high << 16;
    }
}

const Cluster::Collective kLoad[2][2] = {
    {{"ldmatrix.x2", load_matrices<2, false>}, {"ldmatrix.x4", load_matrices<4, false>}},
    {{"ldmatrix.x2.trans", load_matrices<2, true>}, {"ldmatrix.x4.trans", load_matrices<4, true>}}};

struct Fragments {
  uint32_t a[4], b[2];
};

/// The numbers of a register, by their type.
struct Bf16 {
  static constexpr int kPerRegister = 2;
  static float number(uint32_t bits, int index) { return of_pair(bits, index); }
};
struct E4m3 {
  static constexpr int kPerRegister = 4;
  static float number(uint32_t bits, int index) { return to_float(e4m3{static_cast<uint8_t>(bits >> 8 * index)}); }
};

/// d[16x8] += a b for 8 registers of K, the fragments as PTX spreads them over the lanes.
template <class Type>
void multiply_add(Cluster& cluster, unsigned mask, Lanes in, Results out) {
  if (mask != 0xffffffffu) cluster.report("mma needs all 32 lanes", nullptr);
  constexpr int kPer = Type::kPerRegister, kDepth = 8 * kPer;
  float a[16][kDepth], b[8][kDepth];
  for (int lane = 0; lane < kWarp; lane++) {
    const Fragments& f = *static_cast<const Fragments*>(in[lane]);
    const int g = lane / 4, t = kPer * (lane % 4);
    for (int i = 0; i < kPer; i++) {
      a[g][t + i] = Type::number(f.a[0], i);
      a[g + 8][t + i] = Type::number(f.a[1], i);
      a[g][t + kDepth / 2 + i] = Type::number(f.a[2], i);
      a[g + 8][t + kDepth / 2 + i] = Type::number(f.a[3], i);
      b[g][t + i] = Type::number(f.b[0], i);
      b[g][t + kDepth / 2 + i] = Type::number(f.b[1], i);
    }
  }
  for (int lane = 0; lane < kWarp; lane++) {
    auto* d = static_cast<float*>(out[lane]);
    const int g = lane / 4, t = 2 * (lane % 4);
    for (int i = 0; i < 4; i++) {
      const float* row = a[g + (i < 2 ? 0 : 8)];
      const float* column = b[t + i % 2];
      float sum = 0;
      for (int k = 0; k < kDepth; k++) sum += row[k] * column[k];
      d[i] += sum;
    }
  }
}

}  // namespace

uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(static_cast<const char*>(p) - Cluster::current()->shared());
}

void cp_async_16(void* shared, const void* global, bool valid) {
  Cluster::current()->copy_async(static_cast<char*>(shared), static_cast<const char*>(global), valid, CALLER);
}
void cp_async_commit() { Cluster::current()->commit_copies(); }
void cp_async_wait_group(int n) { Cluster::current()->wait_copies(n); }

void ldmatrix(uint32_t* r, int matrices, bool transposed, const void* shared_row) {
  const Rows in{static_cast<const char*>(shared_row), CALLER};
  Cluster::current()->collective(kLoad[transposed][matrices == 4], 0xffffffffu, &in, r, CALLER);
}

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static const Cluster::Collective kMma = {"mma", multiply_add<Bf16>};
  const Fragments in{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  Cluster::current()->collective(kMma, 0xffffffffu, &in, d, CALLER);
}

uint16_t pack_e4m3(float first, float second) {
  return static_cast<uint16_t>(to_e4m3(first).bits | to_e4m3(second).bits << 8);
}

void mma_m16n8k32_e4m3(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  static const Cluster::Collective kMma = {"mma (e4m3)", multiply_add<E4m3>};
  const Fragments in{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  Cluster::current()->collective(kMma, 0xffffffffu, &in, d, CALLER);
}

}  // namespace iconface::emulator
