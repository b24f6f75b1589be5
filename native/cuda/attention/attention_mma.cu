// attention, bf16 on tensor cores (mma.sync, sm_80 and later): out = softmax(scale q k^T) v, causal or not.
//
// Work split: a block makes Bm query rows of one head (for head sizes above 256 one run of 256 channels of them, with
// the scores computed again for each), a warp 16 or 32 of the rows. Keys go by in blocks of Bn, none of which spans
// two segments; what a block lacks is loaded as zeros and scored -infinity. The softmax is streamed in f32: with the
// largest score m so far, p = 2^(c s - c m), and sums and out are brought to a new m by 2^(c (old m - m)), c = scale
// log2(e). Scores, p (rounded to bf16) and out stay in registers: the fragment that q k^T leaves is the one p v
// wants. q lies in shared memory; v of a block is copied while q k^T runs, k of the next one while p v runs. Rows are
// XOR-swizzled in pieces of 16 bytes, so that neither cp.async nor ldmatrix meets bank conflicts. A smaller head size
// is padded with zeros in shared memory.
//
// Must move: q, k, v and out once (k and v of a head are shared by its blocks through the L2 cache); klein-4B, 2,560
// tokens: 63 MB against 80.5 GFLOP and 157 million exponentials. Limit: the tensor cores' bf16 rate.
#include "cuda/attention/attention.cuh"
#include "cuda/common/ptx.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

template <int kD, int kDv, int kRows, int kBn>
struct AttentionTile {
  static constexpr int D = kD;        // head size in shared memory
  static constexpr int Dv = kDv;      // channels of out that a block makes
  static constexpr int Rows = kRows;  // of a warp: 16 or 32
  static constexpr int Bn = kBn, kWarps = 4, threads = 32 * kWarps, Bm = kWarps * Rows;
  static constexpr int shared_bytes = 2 * (Bm * D + Bn * D + Bn * Dv);
};

/// Element of piece `chunk` (16 bytes) of `row` in a swizzled tile of `D` columns. Since it is an XOR, two pieces
/// further on, n times, is swizzled(row, chunk) ^ 16 n for chunk 0 or 1: one instruction instead of an address per
/// fragment.
template <int D>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  return row * D + (chunk ^ (row & 7)) * 8;
}

/// Starts copying `kRows` rows of kColumns channels from `channel` on to shared memory; zeros where a row or channel
/// does not exist.
template <class Tile, int kRows, int kColumns>
__device__ __forceinline__ void copy_rows(const AttentionRun& run, const TokenBlock& block, Head head, int channel,
                                          int d, __nv_bfloat16* to) {
  constexpr int kChunks = kColumns / 8, kPerPass = Tile::threads / kChunks;
  static_assert(Tile::threads % kChunks == 0 && kRows % kPerPass == 0);
  const int chunk = static_cast<int>(threadIdx.x) % kChunks, first = static_cast<int>(threadIdx.x) / kChunks;
  const auto* const base = static_cast<const __nv_bfloat16*>(run.data) + run.at(head);
  const auto* from = base + (block.first + first) * run.token_stride + channel + chunk * 8;
  const bool column = channel + chunk * 8 < d;
#pragma unroll
  for (int i = 0; i < kRows; i += kPerPass, from += kPerPass * run.token_stride) {
    const bool valid = column && first + i < block.count;
    cp_async_16(to + swizzled<kColumns>(first + i, chunk), valid ? from : base, valid);
  }
}

/// Scores of a warp's rows: [16-row part][8-key part].
template <class Tile>
using Scores = float[Tile::Rows / 16][Tile::Bn / 8][4];
template <class Tile>
using Output = float[Tile::Rows / 16][Tile::Dv / 8][4];

template <class Tile>
__device__ __forceinline__ void multiply_keys(const __nv_bfloat16* q, const __nv_bfloat16* k, int lane,
                                              Scores<Tile>& scores) {
  const int at_q = swizzled<Tile::D>(lane % 16, lane / 16);
  const int at_k = swizzled<Tile::D>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int i = 0; i < Tile::Rows / 16; i++)
#pragma unroll
    for (int j = 0; j < Tile::Bn / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) scores[i][j][e] = 0;
#pragma unroll
  for (int step = 0; step < Tile::D / 16; step++) {
    uint32_t a[Tile::Rows / 16][4];
#pragma unroll
    for (int i = 0; i < Tile::Rows / 16; i++) ldmatrix_x4(a[i], q + (at_q ^ 16 * step) + i * 16 * Tile::D);
#pragma unroll
    for (int j = 0; j < Tile::Bn / 16; j++) {
      uint32_t b[4];
      ldmatrix_x4(b, k + (at_k ^ 16 * step) + j * 16 * Tile::D);
#pragma unroll
      for (int i = 0; i < Tile::Rows / 16; i++) {
        mma_m16n8k16_bf16(scores[i][2 * j], a[i], {b[0], b[1]});
        mma_m16n8k16_bf16(scores[i][2 * j + 1], a[i], {b[2], b[3]});
      }
    }
  }
}

template <class Tile>
__device__ __forceinline__ void multiply_values(const Scores<Tile>& p, const __nv_bfloat16* v, int lane,
                                                Output<Tile>& out) {
  const int at_v = swizzled<Tile::Dv>(lane % 16, lane / 16);
#pragma unroll
  for (int step = 0; step < Tile::Bn / 16; step++) {
    uint32_t a[Tile::Rows / 16][4];
#pragma unroll
    for (int i = 0; i < Tile::Rows / 16; i++) pack_keys(p[i], step, a[i]);
#pragma unroll
    for (int j = 0; j < Tile::Dv / 16; j++) {
      uint32_t b[4];
      ldmatrix_x4_trans(b, v + (at_v ^ 16 * j) + step * 16 * Tile::Dv);
#pragma unroll
      for (int i = 0; i < Tile::Rows / 16; i++) {
        mma_m16n8k16_bf16(out[i][2 * j], a[i], {b[0], b[1]});
        mma_m16n8k16_bf16(out[i][2 * j + 1], a[i], {b[2], b[3]});
      }
    }
  }
}

template <class Tile>
__global__ void __launch_bounds__(Tile::threads) attention_mma_kernel(AttentionProblem p, int key_blocks) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const Head head = p.head(static_cast<int>(blockIdx.y)), key_head = p.key_head(head);
  const int channel = static_cast<int>(blockIdx.z) * Tile::Dv;
  const TokenBlock rows = TokenBlock::at(p.queries, static_cast<int>(blockIdx.x), Tile::Bm);

  __nv_bfloat16* const q = shared_memory<__nv_bfloat16>();
  __nv_bfloat16* const k = q + Tile::Bm * Tile::D;
  __nv_bfloat16* const v = k + Tile::Bn * Tile::D;
  const __nv_bfloat16* const my_q = q + warp * Tile::Rows * Tile::D;

  TokenBlock keys = TokenBlock::at(p.keys, 0, Tile::Bn);
  copy_rows<Tile, Tile::Bm, Tile::D>(p.q[rows.segment], rows, head, 0, p.d, q);
  copy_rows<Tile, Tile::Bn, Tile::D>(p.k[keys.segment], keys, key_head, 0, p.d, k);
  cp_async_commit();

  Output<Tile> out = {};
  float maximum[Tile::Rows / 16][2], sum[Tile::Rows / 16][2] = {};
#pragma unroll
  for (int i = 0; i < Tile::Rows / 16; i++) maximum[i][0] = maximum[i][1] = -INFINITY;

  key_blocks = seen_blocks(p, rows.first + rows.count - 1, Tile::Bn, key_blocks);
  for (int block = 0; block < key_blocks; block++) {
    cp_async_wait<0>();
    __syncthreads();  // q and k are there; everyone has left v
    copy_rows<Tile, Tile::Bn, Tile::Dv>(p.v[keys.segment], keys, key_head, channel, p.d, v);
    cp_async_commit();
    Scores<Tile> scores;
    multiply_keys<Tile>(my_q, k, lane, scores);
    if (keys.count < Tile::Bn)
#pragma unroll
      for (int i = 0; i < Tile::Rows / 16; i++) mask_keys(keys.count, lane, scores[i]);
    if (p.causal)
#pragma unroll
      for (int i = 0; i < Tile::Rows / 16; i++)
        mask_future(rows.first + warp * Tile::Rows + i * 16 - keys.first, lane, scores[i]);

    cp_async_wait<0>();
    __syncthreads();  // v is there; everyone has left k
    if (block + 1 < key_blocks) {
      keys = TokenBlock::at(p.keys, block + 1, Tile::Bn);
      copy_rows<Tile, Tile::Bn, Tile::D>(p.k[keys.segment], keys, key_head, 0, p.d, k);
    }
    cp_async_commit();
#pragma unroll
    for (int i = 0; i < Tile::Rows / 16; i++) {
      float shrink[2];
      soften_rows(p.scale, scores[i], maximum[i], sum[i], shrink);
      scale_rows(shrink, out[i]);
    }
    multiply_values<Tile>(scores, v, lane, out);
  }
#pragma unroll
  for (int i = 0; i < Tile::Rows / 16; i++)
    store_rows(p, rows, head, channel, warp * Tile::Rows + i * 16, lane, sum[i], out[i]);
}

template <class Tile>
void run(Context& ctx, const AttentionProblem& p) {
  const unsigned rows = TokenBlock::blocks(p.queries, Tile::Bm), runs = (p.d + Tile::Dv - 1) / Tile::Dv;
  launch(ctx, attention_mma_kernel<Tile>, dim3(rows, p.batch * p.heads, runs), dim3(Tile::threads), Tile::shared_bytes,
         p, TokenBlock::blocks(p.keys, Tile::Bn));
}

}  // namespace

void attention_mma(Context& ctx, const AttentionProblem& p) {
  // All fit into the 99 KB of shared memory that a block may have on sm_86, 89 and 120.
  if (p.d <= 64)
    run<AttentionTile<64, 64, 32, 64>>(ctx, p);
  else if (p.d <= 128)
    run<AttentionTile<128, 128, 32, 64>>(ctx, p);
  else if (p.d <= 256)
    run<AttentionTile<256, 256, 16, 64>>(ctx, p);
  else
    run<AttentionTile<512, 256, 16, 16>>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
