// linear, bf16 on tensor cores (mma.sync, sm_80 and later): out = epilogue(x W^T), x [M, K], W [N, K] row-major.
//
// Work split: a block makes one Bm x Bn tile of the product, a warp a Wm x Wn part of it in registers; K goes by in
// steps of Bk through a ring of kStages stages in shared memory, filled by cp.async while the tensor cores work on
// earlier ones. Rows of a stage are XOR-swizzled in pieces of 16 bytes, so that neither the copies nor ldmatrix meet
// bank conflicts. Blocks are numbered so that kGroup tiles of rows run beside each other and share W in the second
// cache. For SwiGLU a tile pairs 8 rows of W's first half with the same 8 of its second, which puts both factors of an
// output into one thread. The epilogue (bias, activation, gate, residual) works on the registers: 8-byte F32 accesses,
// or, after swapping halves with the neighbouring lane, 8-byte pieces of bf16, whole 32-byte sectors either way.
// Other sizes: rows and columns beyond the edge are loaded as zeros and not stored; where K or an address is no
// multiple of 16 bytes, or W is F32 or F16, the operand is loaded through registers and rounded to bf16 there.
//
// Must move: x, W and out once, 2 (M K + N K + M N) bytes; klein-4B linear1, 2 x 2,560 rows: 31 + 170 + 94 MB against
// 0.87 TFLOP. Limit: the tensor cores' bf16 rate (on sm_90a what mma.sync reaches of it).
#include "cuda/linear.cuh"
#include "cuda/ptx.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

template <int kBm, int kBn, int kBk, int kWarpsM, int kWarpsN, int kStageCount>
struct MmaTile {
  static constexpr int Bm = kBm, Bn = kBn, Bk = kBk, kStages = kStageCount, warps_n = kWarpsN;
  static constexpr int threads = kWarpsM * kWarpsN * 32;
  static constexpr int Wm = Bm / kWarpsM, Wn = Bn / kWarpsN;  // of a warp
  static constexpr int chunks = Bk / 8;                       // 16-byte pieces of a row
  static constexpr int rows_per_pass = threads / chunks;      // rows that all threads copy at once
  static constexpr int x_passes = Bm / rows_per_pass, weight_passes = Bn / rows_per_pass;
  static constexpr int stage_elements = (Bm + Bn) * Bk;
  static constexpr int shared_bytes = kStages * stage_elements * 2;
  static_assert(Bm % rows_per_pass == 0 && Bn % rows_per_pass == 0 && Wm % 16 == 0 && Wn % 32 == 0);
};

/// Element of piece `chunk` of `row` in a swizzled tile: pieces of the same column lie in different banks for 8
/// consecutive rows (for Bk = 32 two rows share a line of 128 bytes). Since it is an XOR, two pieces further on, n times,
/// is swizzled(row, chunk) ^ 16 n for chunk 0 or 1.
template <int Bk>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  static_assert(Bk == 32 || Bk == 64);
  return row * Bk + (chunk ^ (Bk == 64 ? row & 7 : (row >> 1) & 3)) * 8;
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
__device__ __forceinline__ uint4 rounded_8(const void* row, DType type, int first, int left) {
  switch (type) {
    case DType::F32:
      return rounded_8(static_cast<const float*>(row) + first, left);
    case DType::F16:
      return rounded_8(static_cast<const __half*>(row) + first, left);
    default:
      return rounded_8(static_cast<const __nv_bfloat16*>(row) + first, left);
  }
}

/// This thread's part of the copies into a stage: one piece of some rows of x and W.
template <class Tile, bool kDirect>
struct Loader {
  const char* x[Tile::x_passes];  // null: the row does not exist
  const char* weight[Tile::weight_passes];
  int row, chunk;

  __device__ __forceinline__ Loader(const LinearProblem& p, int tile_m, int tile_n) {
    row = static_cast<int>(threadIdx.x) / Tile::chunks;
    chunk = static_cast<int>(threadIdx.x) % Tile::chunks;
#pragma unroll
    for (int i = 0; i < Tile::x_passes; i++) {
      const int m = tile_m * Tile::Bm + row + i * Tile::rows_per_pass;
      x[i] = m < p.m ? reinterpret_cast<const char*>(p.x.row<__nv_bfloat16>(m)) : nullptr;
    }
    const int weight_bytes = p.weight_type == DType::F32 ? 4 : 2;
#pragma unroll
    for (int i = 0; i < Tile::weight_passes; i++) {
      const int n = weight_row<Tile>(p, tile_n, row + i * Tile::rows_per_pass);
      weight[i] = n >= 0 ? static_cast<const char*>(p.weight) + n * p.weight_stride * weight_bytes : nullptr;
    }
  }

  __device__ __forceinline__ void load(const LinearProblem& p, int step, __nv_bfloat16* stage) const {
    const int k = step * Tile::Bk + chunk * 8, left = p.k - k;
#pragma unroll
    for (int i = 0; i < Tile::x_passes; i++)
      piece(p, x[i], DType::BF16, p.x.data, k, left, stage + swizzled<Tile::Bk>(row + i * Tile::rows_per_pass, chunk));
#pragma unroll
    for (int i = 0; i < Tile::weight_passes; i++)
      piece(p, weight[i], p.weight_type, p.weight, k, left,
            stage + Tile::Bm * Tile::Bk + swizzled<Tile::Bk>(row + i * Tile::rows_per_pass, chunk));
  }

  static __device__ __forceinline__ void piece(const LinearProblem&, const char* from, DType type, const void* any,
                                               int k, int left, __nv_bfloat16* to) {
    const bool valid = from != nullptr && left > 0;
    if constexpr (kDirect) {
      cp_async_16(to, valid ? from + 2 * static_cast<int64_t>(k) : any, valid);
    } else {
      *reinterpret_cast<uint4*>(to) = valid ? rounded_8(from, type, k, left) : make_uint4(0, 0, 0, 0);
    }
  }
};

/// Adds one stage's product to a warp's sums.
template <class Tile>
__device__ __forceinline__ void multiply(const __nv_bfloat16* stage, int warp_m, int warp_n, int lane,
                                         float (&sums)[Tile::Wm / 16][Tile::Wn / 8][4]) {
  const int at_x = swizzled<Tile::Bk>(warp_m * Tile::Wm + lane % 16, lane / 16);
  const int at_weight = swizzled<Tile::Bk>(warp_n * Tile::Wn + lane % 8 + lane / 16 * 8, lane / 8 % 2);
  const __nv_bfloat16* const weight = stage + Tile::Bm * Tile::Bk;
#pragma unroll
  for (int k = 0; k < Tile::Bk / 16; k++) {
    uint32_t a[Tile::Wm / 16][4], b[Tile::Wn / 16][4];
#pragma unroll
    for (int i = 0; i < Tile::Wm / 16; i++) ldmatrix_x4(a[i], stage + (at_x ^ 16 * k) + i * 16 * Tile::Bk);
#pragma unroll
    for (int j = 0; j < Tile::Wn / 16; j++) ldmatrix_x4(b[j], weight + (at_weight ^ 16 * k) + j * 16 * Tile::Bk);
#pragma unroll
    for (int i = 0; i < Tile::Wm / 16; i++)
#pragma unroll
      for (int j = 0; j < Tile::Wn / 16; j++) {
        mma_m16n8k16_bf16(sums[i][2 * j], a[i], {b[j][0], b[j][1]});
        mma_m16n8k16_bf16(sums[i][2 * j + 1], a[i], {b[j][2], b[j][3]});
      }
  }
}

constexpr int kGroup = 8;  // tiles of rows that run beside each other

template <class Tile, bool kDirect>
__global__ void __launch_bounds__(Tile::threads) linear_mma_kernel(LinearProblem p, int tiles_m, int tiles_n) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp / Tile::warps_n, warp_n = warp % Tile::warps_n;

  // Tiles in stripes of kGroup tiles of rows, column by column within a stripe.
  const int index = static_cast<int>(blockIdx.x), stripe = index / (kGroup * tiles_n);
  const int stripe_rows = min(kGroup, tiles_m - stripe * kGroup), within = index - stripe * kGroup * tiles_n;
  const int tile_m = stripe * kGroup + within % stripe_rows, tile_n = within / stripe_rows;

  __nv_bfloat16* const ring = shared_memory<__nv_bfloat16>();
  const Loader<Tile, kDirect> loader(p, tile_m, tile_n);
  const int steps = (p.k + Tile::Bk - 1) / Tile::Bk;
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; s++) {
    if (s < steps) loader.load(p, s, ring + s * Tile::stage_elements);
    cp_async_commit();
  }
  float sums[Tile::Wm / 16][Tile::Wn / 8][4] = {};
  int read = 0, write = Tile::kStages - 1;
  for (int step = 0; step < steps; step++) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();  // this step's stage is filled, and everyone has left the one that is filled next
    if (step + Tile::kStages - 1 < steps) loader.load(p, step + Tile::kStages - 1, ring + write * Tile::stage_elements);
    cp_async_commit();
    multiply<Tile>(ring + read * Tile::stage_elements, warp_m, warp_n, lane, sums);
    read = read + 1 == Tile::kStages ? 0 : read + 1;
    write = write + 1 == Tile::kStages ? 0 : write + 1;
  }
  const int first_column = tile_n * Tile::Bn + warp_n * Tile::Wn;
#pragma unroll
  for (int i = 0; i < Tile::Wm / 16; i++) {
    const int first_row = tile_m * Tile::Bm + warp_m * Tile::Wm + i * 16;
    if (p.swiglu())
      finish_rows<Pairs::Neighbours>(p, first_row, p.m, first_column / 2, lane, sums[i]);
    else
      finish_rows<Pairs::None>(p, first_row, p.m, first_column, lane, sums[i]);
  }
}

// All fit into the 99 KB of shared memory that a block may have on sm_86, 89 and 120.
using Large = MmaTile<128, 256, 32, 2, 4, 4>;
using Middle = MmaTile<128, 128, 32, 2, 2, 4>;
using Small = MmaTile<64, 64, 64, 2, 2, 4>;

/// Time of the product in tiles of this size, up to a factor: the multiprocessor with the most tiles decides.
/// `rate` is what the tensor cores give for tiles of this size, relative to the largest.
template <class Tile>
double time_in(const LinearProblem& p, int64_t processors, double rate) {
  const int64_t columns = p.swiglu() ? Tile::Bn / 2 : Tile::Bn;
  const int64_t tiles = ((p.m + Tile::Bm - 1) / Tile::Bm) * ((p.n + columns - 1) / columns);
  return static_cast<double>((tiles + processors - 1) / processors) * Tile::Bm * Tile::Bn / rate;
}

template <class Tile, bool kDirect>
void run(Context& ctx, const LinearProblem& p) {
  const int columns = p.swiglu() ? Tile::Bn / 2 : Tile::Bn;
  const int tiles_m = (p.m + Tile::Bm - 1) / Tile::Bm, tiles_n = (p.n + columns - 1) / columns;
  launch(ctx, linear_mma_kernel<Tile, kDirect>, dim3(static_cast<unsigned>(tiles_m) * tiles_n), dim3(Tile::threads),
         Tile::shared_bytes, p, tiles_m, tiles_n);
}

}  // namespace

void linear_mma(Context& ctx, const LinearProblem& p) {
  const bool direct = p.weight_type == DType::BF16 && p.k % 8 == 0 && p.x.aligned(16, 2) &&
                      reinterpret_cast<uintptr_t>(p.weight) % 16 == 0 && p.weight_stride % 8 == 0;
  // Small tiles read each operand more often from the second cache and from shared memory, but fill the machine better.
  const int64_t processors = device_of(ctx).multiprocessors();
  const double large = time_in<Large>(p, processors, 1.0), middle = time_in<Middle>(p, processors, 0.9),
               small = time_in<Small>(p, processors, 0.6);
  if (!direct) {
    middle <= small ? run<Middle, false>(ctx, p) : run<Small, false>(ctx, p);
  } else if (large <= middle && large <= small) {
    run<Large, true>(ctx, p);
  } else if (middle <= small) {
    run<Middle, true>(ctx, p);
  } else {
    run<Small, true>(ctx, p);
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
