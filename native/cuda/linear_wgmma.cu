// linear, bf16 on Hopper (sm_90a): out = epilogue(x W^T), x [M, K], W [N, K] row-major, by wgmma and TMA.
//
// Work split: one block per multiprocessor goes through tiles of 128 x Bn. Its first warpgroup is the producer: one thread
// of it keeps a ring of stages (128 and Bn rows of 64 of K, 128-byte swizzle) filled by TMA. The other two make 64 rows of
// the tile each, m64nBnk16 products straight from shared memory, the sums in their registers. Full and empty mbarriers pass
// the stages to and fro, so the producer is already at the next tile while the consumers work on an epilogue. Tiles of
// rows do not span batch items (x and out may be slices with a stride between items); rows and K beyond the end arrive
// as zeros. For SwiGLU a stage holds Bn / 2 rows of each half of W. Tiles are numbered as in linear_mma.cu.
//
// Must move: as linear_mma.cu. Limit: the tensor cores' bf16 rate.
#include "cuda/linear.cuh"
#include "cuda/ptx.cuh"
#include "cuda/ring.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

template <int kBn, int kStageCount>
struct WgmmaTile {
  static constexpr int Bm = 128, Bn = kBn, Bk = 64, kStages = kStageCount;
  static constexpr int consumers = 2, threads = 128 * (1 + consumers);
  static constexpr int stage_elements = (Bm + Bn) * Bk, stage_bytes = 2 * stage_elements;
  static constexpr int shared_bytes = kStages * stage_bytes + 2 * kStages * 8;
};

/// How the tiles lie: `tiles_m` of each batch item, stripes of kGroup of them side by side.
struct TileOrder {
  int tiles_per_item, tiles_m, tiles_n;
  int item_rows;  // of a batch item

  __host__ __device__ int count() const { return tiles_m * tiles_n; }
};

#ifdef ICONFACE_SM90A

/// Where tile `index` lies: its batch item, its number among the item's tiles of rows, and among the tiles of columns.
struct TilePlace {
  static constexpr int kGroup = 8;
  int item, tile_m, tile_n;
  __device__ __forceinline__ TilePlace(const TileOrder& order, int index) {
    const int stripe = index / (kGroup * order.tiles_n);
    const int within = index - stripe * kGroup * order.tiles_n;
    const int rows = min(kGroup, order.tiles_m - stripe * kGroup);
    const int m = stripe * kGroup + within % rows;
    tile_n = within / rows;
    item = m / order.tiles_per_item;
    tile_m = m % order.tiles_per_item;
  }
};

template <class Tile>
__device__ __forceinline__ void produce(const LinearProblem& p, const TileOrder& order, const TensorMap* x,
                                        const TensorMap* weight, __nv_bfloat16* ring, uint64_t* full, uint64_t* empty) {
  const int steps = (p.k + Tile::Bk - 1) / Tile::Bk;
  RingPosition<Tile::kStages> at;
  for (int index = static_cast<int>(blockIdx.x); index < order.count(); index += static_cast<int>(gridDim.x)) {
    const TilePlace place(order, index);
    for (int step = 0; step < steps; step++, at.next()) {
      __nv_bfloat16* const stage = ring + at.stage * Tile::stage_elements;
      wait_for(empty + at.stage, at.parity ^ 1);
      mbarrier_arrive_expect_tx(full + at.stage, Tile::stage_bytes);
      tma_load_3d(stage, x, full + at.stage, step * Tile::Bk, place.tile_m * Tile::Bm, place.item);
      if (p.swiglu()) {
        // W as [2, N, K]: the same columns of both halves.
        for (int half = 0; half < 2; half++)
          tma_load_3d(stage + Tile::Bm * Tile::Bk + half * (Tile::Bn / 2) * Tile::Bk, weight, full + at.stage,
                      step * Tile::Bk, place.tile_n * (Tile::Bn / 2), half);
      } else {
        for (int half = 0; half < 2; half++)
          tma_load_3d(stage + Tile::Bm * Tile::Bk + half * (Tile::Bn / 2) * Tile::Bk, weight, full + at.stage,
                      step * Tile::Bk, place.tile_n * Tile::Bn + half * (Tile::Bn / 2), 0);
      }
    }
  }
}

template <class Tile>
__device__ __forceinline__ void consume(const LinearProblem& p, const TileOrder& order, int consumer,
                                        const __nv_bfloat16* ring, uint64_t* full, uint64_t* empty) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32 % 4;
  const int steps = (p.k + Tile::Bk - 1) / Tile::Bk;
  RingPosition<Tile::kStages> at;
  for (int index = static_cast<int>(blockIdx.x); index < order.count(); index += static_cast<int>(gridDim.x)) {
    const TilePlace place(order, index);
    float sums[Tile::Bn / 8][4];
    int before = 0;
    for (int step = 0; step < steps; step++, at.next()) {
      const __nv_bfloat16* const x = ring + at.stage * Tile::stage_elements + consumer * 64 * Tile::Bk;
      const __nv_bfloat16* const weight = ring + at.stage * Tile::stage_elements + Tile::Bm * Tile::Bk;
      const uint64_t a = wgmma_descriptor(x, 0, 1024), b = wgmma_descriptor(weight, 0, 1024);
      wait_for(full + at.stage, at.parity);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < Tile::Bk / 16; k++)
        wgmma_step(sums, a + 2 * k, b + 2 * k, step > 0 || k > 0);  // 16 of K are 32 bytes: 2 in a descriptor
      wgmma_commit();
      // The products of the step before are done: its stage may be filled again.
      wgmma_wait<1>();
      if (step > 0 && lane == 0) mbarrier_arrive(empty + before);
      before = at.stage;
    }
    wgmma_wait<0>();
    if (lane == 0) mbarrier_arrive(empty + before);

    const int row = place.tile_m * Tile::Bm + consumer * 64 + warp * 16, item_first = place.item * order.item_rows;
    const int row_end = item_first + order.item_rows;
    if (row >= order.item_rows) continue;
    if (p.swiglu())
      finish_rows<Pairs::Halves>(p, item_first + row, row_end, place.tile_n * (Tile::Bn / 2), lane, sums);
    else
      finish_rows<Pairs::None>(p, item_first + row, row_end, place.tile_n * Tile::Bn, lane, sums);
  }
}

#endif

template <class Tile>
__global__ void __launch_bounds__(Tile::threads, 1)
    linear_wgmma_kernel(LinearProblem p, TileOrder order, const __grid_constant__ TensorMap x,
                        const __grid_constant__ TensorMap weight) {
#ifdef ICONFACE_SM90A
  __nv_bfloat16* const ring = shared_memory<__nv_bfloat16>();
  uint64_t* const full = reinterpret_cast<uint64_t*>(ring + Tile::kStages * Tile::stage_elements);
  uint64_t* const empty = full + Tile::kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Tile::kStages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, 4 * Tile::consumers);  // one lane of every consuming warp
    }
    fence_proxy_async();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / 128;
  if (group == 0) {
    setmaxnreg_dec<24>();
    if (threadIdx.x == 0) produce<Tile>(p, order, &x, &weight, ring, full, empty);
  } else {
    setmaxnreg_inc<240>();
    consume<Tile>(p, order, group - 1, ring, full, empty);
  }
#endif
}

template <class Tile>
TileOrder order_of(const LinearProblem& p) {
  TileOrder o;
  const int columns = p.swiglu() ? Tile::Bn / 2 : Tile::Bn, items = p.x.levels == 2 ? p.x.shape[0] : 1;
  o.item_rows = p.m / items;
  o.tiles_per_item = (o.item_rows + Tile::Bm - 1) / Tile::Bm;
  o.tiles_m = items * o.tiles_per_item;
  o.tiles_n = (p.n + columns - 1) / columns;
  return o;
}

template <class Tile>
bool run(Context& ctx, const LinearProblem& p) {
  const TileOrder order = order_of<Tile>(p);
  const bool items = p.x.levels == 2;
  TensorMap x, weight;
  if (!make_tensor_map(&x, p.x.data, {p.k, order.item_rows, p.m / order.item_rows},
                       {p.x.stride[items ? 1 : 0], p.x.stride[0]}, Tile::Bm) ||
      !make_tensor_map(&weight, p.weight, {p.k, p.n, p.swiglu() ? 2 : 1}, {p.weight_stride, p.n * p.weight_stride},
                       Tile::Bn / 2))
    return false;
  const int blocks = std::min(order.count(), device_of(ctx).multiprocessors());
  launch(ctx, linear_wgmma_kernel<Tile>, dim3(blocks), dim3(Tile::threads), Tile::shared_bytes, p, order, x, weight);
  return true;
}

/// Time of the product in tiles of this size, up to a factor: the multiprocessor with the most tiles decides.
template <class Tile>
double time_in(const LinearProblem& p, int64_t processors, double rate) {
  return static_cast<double>((order_of<Tile>(p).count() + processors - 1) / processors) * Tile::Bn / rate;
}

}  // namespace

bool linear_wgmma(Context& ctx, const LinearProblem& p) {
  if (p.weight_type != DType::BF16 || p.x.levels > 2 || p.m < 64) return false;
  using Large = WgmmaTile<256, 4>;
  using Middle = WgmmaTile<192, 5>;
  using Small = WgmmaTile<128, 6>;
  // Narrow tiles read x more often from shared memory and the second cache, but divide the columns more evenly.
  const int64_t processors = device_of(ctx).multiprocessors();
  const double large = time_in<Large>(p, processors, 1.0), middle = time_in<Middle>(p, processors, 0.97),
               small = time_in<Small>(p, processors, 0.85);
  if (large <= middle && large <= small) return run<Large>(ctx, p);
  return middle <= small ? run<Middle>(ctx, p) : run<Small>(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
