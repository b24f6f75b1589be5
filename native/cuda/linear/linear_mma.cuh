// linear on tensor cores by mma.sync, in bf16 (sm_80 and later) and e4m3 (sm_89 and later): out = epilogue(x W^T), x
// [M, K], W [N, K] row-major.
//
// Work split: a block makes one Bm x Bn tile of the product, a warp a Wm x Wn part of it in registers; K goes by in
// steps of Bk through a ring of kStages stages in shared memory, filled by cp.async while the tensor cores work on
// earlier ones. Rows of a stage are XOR-swizzled in pieces of 16 bytes, so that neither the copies nor ldmatrix meet
// bank conflicts. Blocks are numbered so that kMmaGroup tiles of rows run beside each other and share W in the L2
// cache. For SwiGLU a tile pairs 8 rows of W's first half with the same 8 of its second, which puts both factors of
// an output into one thread. The epilogue (bias, activation, gate, residual) works on the registers: 8-byte F32
// accesses, or, after swapping halves with the neighbouring lane, 8-byte pieces of bf16, whole 32-byte sectors either
// way. Heads of q and k are normalised and rotated there too; a head's warps add their sums of squares through shared
// memory. Several products are one grid, their tiles one after the other. Other sizes: rows and columns beyond the
// edge are loaded as zeros and not stored; where K or an address is no multiple of 16 bytes, or W is F32 or F16, the
// operand is loaded through registers and rounded to bf16 there. e4m3 is the same work in bytes, so all places are
// counted in bytes; 32 of a row go into one product. Tensor cores keep few bits of e4m3 sums (13 of the mantissa,
// says arXiv 2411.10958; about 14 in all on Hopper, arXiv 2412.19437), so those of a step, 128 of K, begin at zero
// and are added to the tile's in f32 registers.
//
// Must move: x, W and out once, 2 (M K + N K + M N) bytes in bf16; klein-4B linear1, 2 x 2,560 rows: 31 + 170 + 94 MB
// against 0.87 TFLOP; x and W are half of it in e4m3. Limit: the tensor cores' rate of that type (on sm_90a what
// mma.sync reaches of it).
#pragma once
#include "cuda/common/ptx.cuh"
#include "cuda/linear/linear_epilogue.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// A tile for operands of type T, bf16 or e4m3; kRowBytes of a row of x or W are one step of K.
template <class T, int kBm, int kBn, int kRowByteCount, int kWarpsM, int kWarpsN, int kStageCount>
struct MmaTile {
  using Element = T;
  static constexpr bool kE4m3 = std::is_same_v<T, e4m3>;
  static constexpr int kPerChunk = 16 / sizeof(T);  // elements of a 16-byte piece
  static constexpr int Bm = kBm, Bn = kBn, kRowBytes = kRowByteCount, kStages = kStageCount, warps_n = kWarpsN;
  static constexpr int Bk = kRowBytes / static_cast<int>(sizeof(T));
  static constexpr int threads = kWarpsM * kWarpsN * 32;
  static constexpr int Wm = Bm / kWarpsM, Wn = Bn / kWarpsN;  // of a warp
  static constexpr int chunks = kRowBytes / 16;               // pieces of a row
  static constexpr int rows_per_pass = threads / chunks;      // rows that all threads copy at once
  static constexpr int x_passes = Bm / rows_per_pass, weight_passes = Bn / rows_per_pass;
  static constexpr int stage_bytes = (Bm + Bn) * kRowBytes;
  static constexpr int shared_bytes = kStages * stage_bytes;
  static constexpr bool kHeads = Bn % kHeadChannels == 0;  // it finishes heads
  static_assert(Bm % rows_per_pass == 0 && Bn % rows_per_pass == 0 && Wm % 16 == 0 && Wn % 32 == 0);
  static_assert(!kE4m3 || Bk == 128);  // what may be summed up with few bits
};

/// Byte of piece `chunk` of `row` in a swizzled tile: pieces of the same column lie in different banks for 8
/// consecutive rows (for rows of 64 bytes two share a line of 128). Since it is an XOR, two pieces further on, n
/// times, is swizzled(row, chunk) ^ 32 n for chunk 0 or 1.
template <int kRowBytes>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  static_assert(kRowBytes == 64 || kRowBytes == 128);
  return row * kRowBytes + (chunk ^ (kRowBytes == 128 ? row & 7 : (row >> 1) & 3)) * 16;
}

/// Row of W behind row r of a tile of W, N columns of out before SwiGLU's second half.
template <class Tile>
__device__ __forceinline__ int weight_row(const LinearProblem& p, int tile, int r) {
  if (!p.swiglu()) {
    const int row = tile * Tile::Bn + r;
    return row < p.n ? row : -1;
  }
  const int column = tile * (Tile::Bn / 2) + (r / 16) * 8 + r % 8;
  return column >= p.n ? -1 : (r / 8 % 2) * p.n + column;
}

/// 8 elements of a row as bf16, `left` of which exist.
template <class T>
__device__ __forceinline__ uint4 rounded_8(const T* from, int left) {
  float v[8];
#pragma unroll
  for (int i = 0; i < 8; i++) v[i] = i < left ? to_float(from[i]) : 0.0f;
  return make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}
/// A piece of a row from element `first` on, `left` of which exist, in the tile's type.
__device__ __forceinline__ uint4 piece_of(const bf16*, const void* row, DType type, int first, int left) {
  switch (type) {
    case DType::F32:
      return rounded_8(static_cast<const float*>(row) + first, left);
    case DType::F16:
      return rounded_8(static_cast<const __half*>(row) + first, left);
    default:
      return rounded_8(static_cast<const __nv_bfloat16*>(row) + first, left);
  }
}
__device__ __forceinline__ uint4 piece_of(const e4m3*, const void* row, DType, int first, int left) {
  const auto* from = static_cast<const uint8_t*>(row) + first;
  uint32_t words[4] = {};
#pragma unroll
  for (int i = 0; i < 16; i++)
    if (i < left) words[i / 4] |= static_cast<uint32_t>(from[i]) << 8 * (i % 4);
  return make_uint4(words[0], words[1], words[2], words[3]);
}

/// This thread's part of the copies into a stage: one piece of some rows of x and W.
template <class Tile, bool kDirect>
struct Loader {
  using T = typename Tile::Element;
  const char* x[Tile::x_passes];  // null: the row does not exist
  const char* weight[Tile::weight_passes];
  int row, chunk;

  __device__ __forceinline__ Loader(const LinearProblem& p, int tile_m, int tile_n) {
    row = static_cast<int>(threadIdx.x) / Tile::chunks;
    chunk = static_cast<int>(threadIdx.x) % Tile::chunks;
#pragma unroll
    for (int i = 0; i < Tile::x_passes; i++) {
      const int m = tile_m * Tile::Bm + row + i * Tile::rows_per_pass;
      x[i] = m < p.m ? reinterpret_cast<const char*>(p.x.row<T>(m)) : nullptr;
    }
    const int weight_bytes = Tile::kE4m3 ? 1 : p.weight_type == DType::F32 ? 4 : 2;
#pragma unroll
    for (int i = 0; i < Tile::weight_passes; i++) {
      const int n = weight_row<Tile>(p, tile_n, row + i * Tile::rows_per_pass);
      weight[i] = n >= 0 ? static_cast<const char*>(p.weight) + n * p.weight_stride * weight_bytes : nullptr;
    }
  }

  __device__ __forceinline__ void load(const LinearProblem& p, int step, char* stage) const {
    const int k = step * Tile::Bk + chunk * Tile::kPerChunk, left = p.k - k;
#pragma unroll
    for (int i = 0; i < Tile::x_passes; i++)
      piece(x[i], p.x_type, p.x.data, k, left, stage + swizzled<Tile::kRowBytes>(row + i * Tile::rows_per_pass, chunk));
#pragma unroll
    for (int i = 0; i < Tile::weight_passes; i++)
      piece(weight[i], p.weight_type, p.weight, k, left,
            stage + Tile::Bm * Tile::kRowBytes + swizzled<Tile::kRowBytes>(row + i * Tile::rows_per_pass, chunk));
  }

  static __device__ __forceinline__ void piece(const char* from, DType type, const void* any, int k, int left,
                                               char* to) {
    const bool valid = from != nullptr && left > 0;
    if constexpr (kDirect) {
      cp_async_16(to, valid ? from + static_cast<int64_t>(sizeof(T)) * k : any, valid);
    } else {
      *reinterpret_cast<uint4*>(to) =
          valid ? piece_of(static_cast<const T*>(nullptr), from, type, k, left) : make_uint4(0, 0, 0, 0);
    }
  }
};

/// d[16 x 8] += a b, for 32 bytes of K.
template <class Tile>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (Tile::kE4m3)
    mma_m16n8k32_e4m3(d, a, b);
  else
    mma_m16n8k16_bf16(d, a, b);
}

template <class Tile>
using WarpSums = float[Tile::Wm / 16][Tile::Wn / 8][4];

/// Adds one stage's product to a warp's sums.
template <class Tile>
__device__ __forceinline__ void multiply(const char* stage, int warp_m, int warp_n, int lane, WarpSums<Tile>& sums) {
  constexpr int kRowBytes = Tile::kRowBytes;
  const int at_x = swizzled<kRowBytes>(warp_m * Tile::Wm + lane % 16, lane / 16);
  const int at_weight = swizzled<kRowBytes>(warp_n * Tile::Wn + lane % 8 + lane / 16 * 8, lane / 8 % 2);
  const char* const weight = stage + Tile::Bm * kRowBytes;
#pragma unroll
  for (int k = 0; k < kRowBytes / 32; k++) {
    uint32_t a[Tile::Wm / 16][4], b[Tile::Wn / 16][4];
#pragma unroll
    for (int i = 0; i < Tile::Wm / 16; i++) ldmatrix_x4(a[i], stage + (at_x ^ 32 * k) + i * 16 * kRowBytes);
#pragma unroll
    for (int j = 0; j < Tile::Wn / 16; j++) ldmatrix_x4(b[j], weight + (at_weight ^ 32 * k) + j * 16 * kRowBytes);
#pragma unroll
    for (int i = 0; i < Tile::Wm / 16; i++)
#pragma unroll
      for (int j = 0; j < Tile::Wn / 16; j++) {
        multiply_add<Tile>(sums[i][2 * j], a[i], {b[j][0], b[j][1]});
        multiply_add<Tile>(sums[i][2 * j + 1], a[i], {b[j][2], b[j][3]});
      }
  }
}

/// The same in f32 registers, whatever the tensor cores keep of a sum.
template <class Tile>
__device__ __forceinline__ void multiply_apart(const char* stage, int warp_m, int warp_n, int lane,
                                               WarpSums<Tile>& sums) {
  WarpSums<Tile> step = {};
  multiply<Tile>(stage, warp_m, warp_n, lane, step);
#pragma unroll
  for (int i = 0; i < Tile::Wm / 16; i++)
#pragma unroll
    for (int j = 0; j < Tile::Wn / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) sums[i][j][e] += step[i][j][e];
}

constexpr int kMmaGroup = 8;  // tiles of rows that run beside each other

/// The tiles of each product, one product after the other.
struct MmaTiles {
  int first[LinearProblems::kMax + 1];  // the last one used: all tiles
  int tiles_m[LinearProblems::kMax], tiles_n[LinearProblems::kMax];
};

/// Where tile `index` lies. Tiles go in stripes of kMmaGroup tiles of rows, column by column within a stripe.
struct MmaPlace {
  int product = 0, tile_m, tile_n;
  __device__ __forceinline__ MmaPlace(const LinearProblems& p, const MmaTiles& tiles, int index) {
    while (product + 1 < p.count && index >= tiles.first[product + 1]) product++;
    index -= tiles.first[product];
    const int tiles_n = tiles.tiles_n[product], stripe = index / (kMmaGroup * tiles_n);
    const int rows = min(kMmaGroup, tiles.tiles_m[product] - stripe * kMmaGroup);
    const int within = index - stripe * kMmaGroup * tiles_n;
    tile_m = stripe * kMmaGroup + within % rows;
    tile_n = within / rows;
  }
};

/// Normalises and rotates the heads of a tile. A head lies in several warps, which exchange their sums of squares
/// through shared memory (the ring, which is no longer used).
template <class Tile>
__device__ __forceinline__ void rotate_heads(const LinearProblem& p, const MmaPlace& place, int warp_m, int warp_n,
                                             int lane, WarpSums<Tile>& sums) {
  constexpr int kRowParts = Tile::Wm / 16, kParts = Tile::Wn / 8, kSharers = kHeadChannels / Tile::Wn;
  float* const slots = shared_memory<float>();  // [warps_n, Bm]
  const int first = warp_m * Tile::Wm + lane / 4;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kRowParts; i++) {
    float squares[2];
    row_squares<0, kParts>(sums[i], squares);
    if (lane % 4 != 0) continue;
    slots[warp_n * Tile::Bm + first + i * 16] = squares[0];
    slots[warp_n * Tile::Bm + first + i * 16 + 8] = squares[1];
  }
  __syncthreads();
  const int column = place.tile_n * Tile::Bn + warp_n * Tile::Wn;
  if (column >= p.k_end) return;
#pragma unroll
  for (int i = 0; i < kRowParts; i++) {
    float squares[1][2] = {};
#pragma unroll
    for (int w = 0; w < kSharers; w++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        squares[0][half] += slots[(warp_n / kSharers * kSharers + w) * Tile::Bm + first + i * 16 + half * 8];
    rotate_rows<1>(p, place.tile_m * Tile::Bm + warp_m * Tile::Wm + i * 16, column, lane, squares, sums[i]);
  }
}

/// From the sums of a tile to out.
template <class Tile>
__device__ __forceinline__ void finish_tile(const LinearProblem& p, const MmaPlace& place, int warp_m, int warp_n,
                                            int lane, WarpSums<Tile>& sums) {
  const int first_column = place.tile_n * Tile::Bn + warp_n * Tile::Wn;
  const auto first_row = [&](int i) { return place.tile_m * Tile::Bm + warp_m * Tile::Wm + i * 16; };
  if (p.swiglu()) {
#pragma unroll
    for (int i = 0; i < Tile::Wm / 16; i++) {
      complete_sums<Pairs::Neighbours, Tile::kE4m3>(p, first_row(i), p.m, first_column / 2, lane, sums[i]);
      store_sums<Pairs::Neighbours>(p, first_row(i), p.m, first_column / 2, lane, sums[i]);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < Tile::Wm / 16; i++)
    complete_sums<Pairs::None, Tile::kE4m3>(p, first_row(i), p.m, first_column, lane, sums[i]);
  if constexpr (Tile::kHeads)
    if (place.tile_n * Tile::Bn < p.k_end) rotate_heads<Tile>(p, place, warp_m, warp_n, lane, sums);
#pragma unroll
  for (int i = 0; i < Tile::Wm / 16; i++) store_sums<Pairs::None>(p, first_row(i), p.m, first_column, lane, sums[i]);
}

template <class Tile, bool kDirect>
__global__ void __launch_bounds__(Tile::threads)
    linear_mma_kernel(const __grid_constant__ LinearProblems problems, const __grid_constant__ MmaTiles tiles) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / Tile::warps_n, warp_n = warp % Tile::warps_n;
  const MmaPlace place(problems, tiles, static_cast<int>(blockIdx.x));
  const LinearProblem& p = problems.product[place.product];

  char* const ring = shared_memory<char>();
  const Loader<Tile, kDirect> loader(p, place.tile_m, place.tile_n);
  const int steps = (p.k + Tile::Bk - 1) / Tile::Bk;
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; s++) {
    if (s < steps) loader.load(p, s, ring + s * Tile::stage_bytes);
    cp_async_commit();
  }
  prefetch_residual<Tile::Bm, Tile::Bn, Tile::threads>(p, place.tile_m * Tile::Bm, p.m, place.tile_n);
  WarpSums<Tile> sums = {};
  int read = 0, write = Tile::kStages - 1;
  for (int step = 0; step < steps; step++) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();  // this step's stage is filled, and everyone has left the one that is filled next
    if (step + Tile::kStages - 1 < steps) loader.load(p, step + Tile::kStages - 1, ring + write * Tile::stage_bytes);
    cp_async_commit();
    const char* const stage = ring + read * Tile::stage_bytes;
    if constexpr (Tile::kE4m3)
      multiply_apart<Tile>(stage, warp_m, warp_n, lane, sums);
    else
      multiply<Tile>(stage, warp_m, warp_n, lane, sums);
    read = read + 1 == Tile::kStages ? 0 : read + 1;
    write = write + 1 == Tile::kStages ? 0 : write + 1;
  }
  finish_tile<Tile>(p, place, warp_m, warp_n, lane, sums);
}

template <class Tile>
MmaTiles mma_tiles(const LinearProblems& problems) {
  MmaTiles t = {};
  for (int i = 0; i < problems.count; i++) {
    const LinearProblem& p = problems.product[i];
    const int columns = p.swiglu() ? Tile::Bn / 2 : Tile::Bn;
    t.tiles_m[i] = (p.m + Tile::Bm - 1) / Tile::Bm;
    t.tiles_n[i] = (p.n + columns - 1) / columns;
    t.first[i + 1] = t.first[i] + t.tiles_m[i] * t.tiles_n[i];
  }
  return t;
}

/// Time of the products in tiles of this size, up to a factor: the multiprocessor with the most tiles decides.
/// `rate` is what the tensor cores give for tiles of this size, relative to the largest.
template <class Tile>
double mma_time(const LinearProblems& p, int64_t multiprocessors, double rate) {
  const int tiles = mma_tiles<Tile>(p).first[p.count];
  const double pass = p.has_heads() && !Tile::kHeads ? kHeadsPass : 1;
  return static_cast<double>((tiles + multiprocessors - 1) / multiprocessors) * Tile::Bm * Tile::Bn / rate * pass;
}

/// Returns whether heads are done.
template <class Tile, bool kDirect>
bool run_mma(Context& ctx, const LinearProblems& p) {
  const MmaTiles tiles = mma_tiles<Tile>(p);
  launch(ctx, linear_mma_kernel<Tile, kDirect>, dim3(static_cast<unsigned>(tiles.first[p.count])), dim3(Tile::threads),
         Tile::shared_bytes, p, tiles);
  return Tile::kHeads;
}

/// Whether all operands can be copied as they lie, 16 bytes at a time.
template <class T>
bool copies_directly(const LinearProblems& problems) {
  constexpr int kPer = 16 / sizeof(T);
  bool all = true;
  for (int i = 0; i < problems.count; i++) {
    const LinearProblem& p = problems.product[i];
    all = all && p.weight_type == p.x_type && p.k % kPer == 0 && p.x.aligned(16, sizeof(T)) &&
          reinterpret_cast<uintptr_t>(p.weight) % 16 == 0 && p.weight_stride % kPer == 0;
  }
  return all;
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
