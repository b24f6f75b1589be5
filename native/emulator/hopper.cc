#include "emulator/hopper.h"

#include "base/e4m3.h"
#include "emulator/cluster.h"

#define CALLER __builtin_return_address(0)

namespace iconface::emulator {

namespace {

constexpr int kWarp = Cluster::kWarp;

float bf16_to_float(uint32_t bits) { return same_bits<float>(bits << 16); }

/// The numbers of a piece of 16 bytes, by their type.
struct Bf16 {
  static constexpr int kPerPiece = 8;
  static void read(const char* at, float (&to)[kPerPiece]) {
    uint16_t bits[kPerPiece];
    memcpy(bits, at, sizeof bits);
    for (int i = 0; i < kPerPiece; i++) to[i] = bf16_to_float(bits[i]);
  }
};
struct E4m3 {
  static constexpr int kPerPiece = 16;
  static void read(const char* at, float (&to)[kPerPiece]) {
    for (int i = 0; i < kPerPiece; i++) to[i] = to_float(e4m3{static_cast<uint8_t>(at[i])});
  }
};

/// The 128-byte swizzle: pieces of 16 bytes change places within a row of 128 by the row's number among eight.
size_t swizzled(size_t address) { return address ^ ((address >> 7 & 7) << 4); }

struct Operands {
  uint64_t a, b;
  const uint32_t* a_registers;
  int parts;
  bool accumulate;
  const void* caller;
};

/// What a descriptor says, and the numbers it leads to.
struct Matrix {
  Cluster& cluster;
  size_t start, leading, stride;
  const void* caller;

  Matrix(Cluster& cluster, uint64_t descriptor, const void* caller)
      : cluster(cluster),
        start((descriptor & 0x3fff) << 4),
        leading((descriptor >> 16 & 0x3fff) << 4),
        stride((descriptor >> 32 & 0x3fff) << 4),
        caller(caller) {
    if (descriptor >> 62 != 1) cluster.report("wgmma with a descriptor of another swizzle than 128 bytes", caller);
  }
  /// The numbers of the piece whose place, but for the swizzle, is `address`.
  template <class Type>
  void piece(size_t address, float (&to)[Type::kPerPiece]) const {
    const char* at = cluster.shared() + swizzled(address);
    cluster.access(at, 16, Cluster::Access::Read, caller);
    Type::read(at, to);
  }
  /// K innermost: 32 bytes of row `row`.
  template <class Type>
  void row(int row, float (&to)[2 * Type::kPerPiece]) const {
    for (int half = 0; half < 2; half++) {
      float numbers[Type::kPerPiece];
      piece<Type>(start + static_cast<size_t>(row) / 8 * stride + static_cast<size_t>(row) % 8 * 128 +
                      16 * static_cast<size_t>(half),
                  numbers);
      std::copy(numbers, numbers + Type::kPerPiece, to + Type::kPerPiece * half);
    }
  }
  /// bf16, columns innermost: step `k` of columns 8 part .. 8 part + 7.
  void columns(int k, int part, float (&to)[8]) const {
    const auto step = static_cast<size_t>(k), column = 8 * static_cast<size_t>(part);
    piece<Bf16>(start + step / 8 * stride + step % 8 * 128 + column / 64 * leading + column % 64 * 2, to);
  }
};

template <class Type>
void multiply_add(Cluster& cluster, unsigned mask, const void* const (&in)[kWarp], void* const (&out)[kWarp]) {
  constexpr int kDepth = 2 * Type::kPerPiece;
  const int self = cluster.lane();
  const Operands& first = *static_cast<const Operands*>(in[self]);
  if (mask != 0xffffffffu) cluster.report("wgmma needs all 32 lanes", first.caller);
  cluster.act_as_lane(0);
  float a[16][kDepth];
  const int warp = cluster.warp() % 4;
  if (first.a_registers == nullptr) {
    const Matrix matrix(cluster, first.a, first.caller);
    for (int r = 0; r < 16; r++) matrix.row<Type>(16 * warp + r, a[r]);
  } else {
    for (int lane = 0; lane < kWarp; lane++) {
      const uint32_t* registers = static_cast<const Operands*>(in[lane])->a_registers;
      const int g = lane / 4, t = 2 * (lane % 4);
      for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++)
          a[g + i % 2 * 8][t + i / 2 * 8 + half] =
              bf16_to_float(half == 0 ? registers[i] & 0xffffu : registers[i] >> 16);
    }
  }
  const Matrix matrix(cluster, first.b, first.caller);
  for (int part = 0; part < first.parts; part++) {
    float b[8][kDepth];
    if (first.a_registers == nullptr) {
      for (int n = 0; n < 8; n++) matrix.row<Type>(8 * part + n, b[n]);
    } else {
      for (int k = 0; k < kDepth; k++) {
        float step[8];
        matrix.columns(k, part, step);
        for (int n = 0; n < 8; n++) b[n][k] = step[n];
      }
    }
    for (int lane = 0; lane < kWarp; lane++) {
      float* d = static_cast<float*>(out[lane]) + 4 * part;
      const int g = lane / 4, t = 2 * (lane % 4);
      for (int i = 0; i < 4; i++) {
        float sum = 0;
        for (int k = 0; k < kDepth; k++) sum += a[g + (i < 2 ? 0 : 8)][k] * b[t + i % 2][k];
        d[i] = first.accumulate ? d[i] + sum : sum;
      }
    }
  }
}

/// A box into the shared memory of every block whose bit is set, as far from its start as `shared` is from this
/// block's.
void load_box(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z, int w, unsigned blocks,
              const void* caller) {
  Cluster& cluster = *Cluster::current();
  const size_t start = static_cast<size_t>(static_cast<char*>(shared) - cluster.shared());
  if (start % 1024 != 0) cluster.report("a TMA copy to shared memory that is not aligned to 1024 bytes", caller);
  for (int r = 0; r < map->box_rows; r++) {
    const int64_t row = y + static_cast<int64_t>(r);
    const bool row_exists = row >= 0 && row < map->size[1] && z >= 0 && z < map->size[2] && w >= 0 && w < map->size[3];
    for (int piece = 0; piece < 8; piece++) {
      char bytes[16] = {};
      const int64_t each = map->element_bytes, column = x + 16 / each * piece;
      const int64_t exist = row_exists && column >= 0 ? std::min<int64_t>(16 / each, map->size[0] - column) : 0;
      if (exist > 0) {
        const char* from = map->data + w * map->stride_bytes[2] + z * map->stride_bytes[1] +
                           row * map->stride_bytes[0] + each * column;
        cluster.access(from, static_cast<size_t>(each * exist), Cluster::Access::Read, caller);
        memcpy(bytes, from, static_cast<size_t>(each * exist));
      }
      const char* const own =
          cluster.shared() + swizzled(start + 128 * static_cast<size_t>(r) + 16 * static_cast<size_t>(piece));
      for (uint32_t rank = 0; blocks >> rank != 0; rank++) {
        if ((blocks >> rank & 1) == 0) continue;
        char* const at = cluster.counterpart(own, rank, caller);
        cluster.access_across(at, 16, Cluster::Access::Write, caller);
        memcpy(at, bytes, 16);
      }
    }
  }
  for (uint32_t rank = 0; blocks >> rank != 0; rank++)
    if (blocks >> rank & 1) {
      void* const there = cluster.counterpart(barrier, rank, caller);
      cluster.mbarrier_arrive(static_cast<uint64_t*>(there), 0, -128 * static_cast<int64_t>(map->box_rows), caller);
    }
}

}  // namespace

void mbarrier_init(uint64_t* barrier, uint32_t arrivals) {
  Cluster::current()->mbarrier_init(barrier, arrivals, CALLER);
}
void mbarrier_arrive(uint64_t* barrier) { Cluster::current()->mbarrier_arrive(barrier, 1, 0, CALLER); }
void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes) {
  Cluster::current()->mbarrier_arrive(barrier, 1, bytes, CALLER);
}
bool mbarrier_try_wait(uint64_t* barrier, uint32_t parity) {
  Cluster::current()->mbarrier_wait(barrier, parity, CALLER);
  return true;
}

void mbarrier_arrive_in(uint64_t* barrier, uint32_t rank) {
  Cluster& cluster = *Cluster::current();
  void* const at = cluster.counterpart(barrier, rank, CALLER);
  cluster.mbarrier_arrive(static_cast<uint64_t*>(at), 1, 0, CALLER);
}

uint32_t cluster_rank() { return static_cast<uint32_t>(Cluster::current()->rank()); }
void cluster_sync() { Cluster::current()->cluster_barrier(CALLER); }

void tma_load_3d(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z) {
  load_box(shared, map, barrier, x, y, z, 0, 1u << Cluster::current()->rank(), CALLER);
}
void tma_load_4d(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z, int w) {
  load_box(shared, map, barrier, x, y, z, w, 1u << Cluster::current()->rank(), CALLER);
}
void tma_load_3d_multicast(void* shared, const TensorMap* map, uint64_t* barrier, int x, int y, int z,
                           uint16_t blocks) {
  if (blocks == 0) Cluster::current()->report("a multicast copy to no block", CALLER);
  load_box(shared, map, barrier, x, y, z, 0, blocks, CALLER);
}

void named_barrier_sync(int id, int threads) { Cluster::current()->named_barrier(id, threads, true, CALLER); }
void named_barrier_arrive(int id, int threads) { Cluster::current()->named_barrier(id, threads, false, CALLER); }

uint64_t wgmma_descriptor(const void* shared, uint32_t leading, uint32_t stride) {
  const auto address = static_cast<uint32_t>(static_cast<const char*>(shared) - Cluster::current()->shared());
  return static_cast<uint64_t>((address & 0x3ffff) >> 4) | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(stride >> 4) << 32 | 1ull << 62;
}

void wgmma(float* d, int parts, uint64_t a_shared, const uint32_t* a_registers, uint64_t b, bool accumulate) {
  static const Cluster::Collective kWgmma = {"wgmma", multiply_add<Bf16>};
  const Operands in{a_shared, b, a_registers, parts, accumulate, CALLER};
  Cluster::current()->collective(kWgmma, 0xffffffffu, &in, d, CALLER);
}

void wgmma_e4m3(float* d, int parts, uint64_t a_shared, uint64_t b, bool accumulate) {
  static const Cluster::Collective kWgmma = {"wgmma (e4m3)", multiply_add<E4m3>};
  const Operands in{a_shared, b, nullptr, parts, accumulate, CALLER};
  Cluster::current()->collective(kWgmma, 0xffffffffu, &in, d, CALLER);
}

}  // namespace iconface::emulator
