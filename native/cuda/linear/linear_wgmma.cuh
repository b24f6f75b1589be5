// linear on Hopper (sm_90a) by wgmma and TMA, in bf16 and e4m3: out = epilogue(x W^T), x [M, K], W [N, K] row-major.
//
// Work split: one block per multiprocessor goes through tiles of 128 x Bn. Its first warpgroup is the producer: one
// thread of it keeps a ring of stages (128 and Bn rows of 128 bytes of K, 128-byte swizzle) filled by TMA. The other
// two make 64 rows of the tile each, products of 64 x Bn x 32 bytes straight from shared memory, the sums in their
// registers. Full and empty mbarriers pass the stages to and fro, so the producer is already at the next tile while
// the consumers work on an epilogue. Tiles of rows do not span batch items (x and out may be slices with a stride
// between items); rows and K beyond the end arrive as zeros. For SwiGLU a stage holds Bn / 2 rows of each half of W.
// Tiles are numbered as in linear_mma.cuh, in pairs, those of several products one after the other. A warp holds
// whole heads of its rows: q and k are finished in its registers.
//
// Pairs: two blocks form a cluster and work on two tiles of rows, one below the other, of the same tile of columns.
// Each copies its own rows of x and one half of W's, the latter to both blocks at once (multicast), into the same
// stage of both rings: a stage is empty when the consumers of both blocks have released it. Through the L2 cache
// a block's stage of 128 x 256 takes 16 KB of x and 16 KB of W instead of 16 + 32 KB, for 4.2 MFLOP in bf16: at 790
// TFLOP/s 6.2 TB/s instead of 9.3, where an H200 gives 5.5 to 7. (e4m3, 128 x 192: 28 KB instead of 40 for 6.3
// MFLOP.) Where the tiles of rows are odd in number the last pair's second block multiplies zeros and stores
// nothing; with one tile of rows, or where the pairs' rounds cost more than the bytes they save, blocks work alone.
// Of an odd number of multiprocessors pairs leave one idle.
//
// e4m3: tensor cores keep about 14 bits of its sums (arXiv 2412.19437), so those of a stage, 128 of K, begin at zero
// and are added to the tile's in f32 registers. The consumers take turns in queueing a stage's products, so that
// one's 384 clocks of products (128 x 192) run while the other adds its own (about 100 clocks) and queues the next.
// Two sets of partial sums within one warpgroup would fit into the registers only for halves of the columns, and
// would read x twice from shared memory, whose 128 bytes a clock are the nearest limit: per stage the products read
// 64 KB and the copies write 40 in 768 clocks, 139 bytes a clock; by halves it would be 80 and 40 KB, 160.
//
// Must move: as linear_mma.cuh. Limit: the tensor cores' rate of the type.
#pragma once
#include "cuda/common/ptx.cuh"
#include "cuda/common/ring.cuh"
#include "cuda/linear/linear_epilogue.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// A tile for operands of type T, bf16 or e4m3.
template <class T, int kBn, int kStageCount>
struct WgmmaTile {
  static constexpr bool kE4m3 = std::is_same_v<T, e4m3>;
  static constexpr int kRowBytes = 128;  // of a row in a stage
  static constexpr int Bm = 128, Bn = kBn, Bk = kRowBytes / static_cast<int>(sizeof(T)), kStages = kStageCount;
  static constexpr int consumers = 2, threads = 128 * (1 + consumers);
  static constexpr int stage_bytes = (Bm + Bn) * kRowBytes;
  static constexpr int shared_bytes = kStages * stage_bytes + 2 * kStages * 8;
  static constexpr bool kHeads = Bn % kHeadChannels == 0;  // it finishes heads
};

/// How the tiles of a product lie: `tiles_m` of rows in all batch items. A cluster of `blocks` blocks, 1 or 2, works
/// on so many at a time, a bundle; stripes of kGroup bundles lie side by side.
struct TileOrder {
  int tiles_per_item, tiles_m, tiles_n;
  int item_rows;  // of a batch item
  int bundles_m;

  __host__ int count() const { return bundles_m * tiles_n; }
};

/// Those of all products, one product after the other.
struct TileOrders {
  TileOrder product[LinearProblems::kMax];
  int end[LinearProblems::kMax];  // the first bundle behind each product's
  int count = 0;                  // of bundles
  int blocks;                     // of a cluster

  __device__ int first() const { return static_cast<int>(blockIdx.x) / blocks; }
  __device__ int clusters() const { return static_cast<int>(gridDim.x) / blocks; }
  /// Bundles of the cluster with the most of them.
  __host__ int rounds(int multiprocessors) const {
    return (count + multiprocessors / blocks - 1) / (multiprocessors / blocks);
  }
};

/// Every product's operands: x as [items, rows, K], W as [1, N, K] or, for SwiGLU, [2, N, K].
struct LinearMaps {
  TensorMap x[LinearProblems::kMax], weight[LinearProblems::kMax];
};

#ifdef ICONFACE_SM90A

/// Where the tile of block `rank` in bundle `index` lies: its product, its batch item, its number among the item's
/// tiles of rows, and among the tiles of columns. A product's last bundle may lack its second tile, which then lies
/// behind the last item's rows.
struct TilePlace {
  static constexpr int kGroup = 8;
  int product = 0, item, tile_m, tile_n;
  __device__ __forceinline__ TilePlace(const TileOrders& orders, int index, int rank) {
    while (index >= orders.end[product]) product++;
    if (product > 0) index -= orders.end[product - 1];
    const TileOrder& order = orders.product[product];
    const int stripe = index / (kGroup * order.tiles_n);
    const int within = index - stripe * kGroup * order.tiles_n;
    const int rows = min(kGroup, order.bundles_m - stripe * kGroup);
    const int m = (stripe * kGroup + within % rows) * orders.blocks + rank;
    tile_n = within / rows;
    item = min(m, order.tiles_m - 1) / order.tiles_per_item;
    tile_m = m - item * order.tiles_per_item;
  }
};

template <class Tile>
__device__ __forceinline__ void produce(const LinearProblems& problems, const TileOrders& orders,
                                        const LinearMaps& maps, char* ring, uint64_t* full, uint64_t* empty) {
  const int rank = static_cast<int>(cluster_rank());
  RingPosition<Tile::kStages> at;
  for (int index = orders.first(); index < orders.count; index += orders.clusters()) {
    const TilePlace place(orders, index, rank);
    const LinearProblem& p = problems.product[place.product];
    const TensorMap *const x = &maps.x[place.product], *const weight = &maps.weight[place.product];
    const int steps = (p.k + Tile::Bk - 1) / Tile::Bk;
    for (int step = 0; step < steps; step++, at.next()) {
      char* const stage = ring + at.stage * Tile::stage_bytes;
      wait_for(empty + at.stage, at.parity ^ 1);
      mbarrier_arrive_expect_tx(full + at.stage, Tile::stage_bytes);
      tma_load_3d(stage, x, full + at.stage, step * Tile::Bk, place.tile_m * Tile::Bm, place.item);
      for (int half = 0; half < 2; half++) {
        // SwiGLU: W as [2, N, K], the same columns of both halves.
        char* const to = stage + (Tile::Bm + half * (Tile::Bn / 2)) * Tile::kRowBytes;
        const int column = p.swiglu() ? place.tile_n * (Tile::Bn / 2) : place.tile_n * Tile::Bn + half * (Tile::Bn / 2);
        const int z = p.swiglu() ? half : 0;
        if (orders.blocks == 1)
          tma_load_3d(to, weight, full + at.stage, step * Tile::Bk, column, z);
        else if (half == rank)
          tma_load_3d_multicast(to, weight, full + at.stage, step * Tile::Bk, column, z, 3);
      }
    }
  }
}

/// Queues the products of one stage, 64 rows of x from `x` and all columns of W from `weight`.
template <class Tile>
__device__ __forceinline__ void queue_products(const char* x, const char* weight, bool accumulate,
                                               float (&sums)[Tile::Bn / 8][4]) {
  const uint64_t a = wgmma_descriptor(x, 0, 1024), b = wgmma_descriptor(weight, 0, 1024);
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < Tile::kRowBytes / 32; k++) {  // 32 bytes of K are 2 in a descriptor
    if constexpr (Tile::kE4m3)
      wgmma_step_e4m3(sums, a + 2 * k, b + 2 * k, accumulate || k > 0);
    else
      wgmma_step(sums, a + 2 * k, b + 2 * k, accumulate || k > 0);
  }
  wgmma_commit();
}

/// Normalises and rotates the heads of a warp's 16 rows of a tile.
template <class Tile>
__device__ __forceinline__ void rotate_heads(const LinearProblem& p, int first_row, int first_column, int lane,
                                             float (&sums)[Tile::Bn / 8][4]) {
  constexpr int kHeads = Tile::Bn / kHeadChannels, kParts = kHeadChannels / 8;
  static_assert(kHeads == 1 || kHeads == 2);
  if (first_column >= p.k_end) return;
  float squares[kHeads][2];
  row_squares<0, kParts>(sums, squares[0]);
  if constexpr (kHeads == 2) row_squares<kParts, kParts>(sums, squares[1]);
  rotate_rows<kHeads>(p, first_row, first_column, lane, squares, sums);
}

/// From the sums of a warp's 16 rows of a tile to out.
template <class Tile>
__device__ __forceinline__ void finish_tile(const LinearProblem& p, int first_row, int row_end, int tile_n, int lane,
                                            float (&sums)[Tile::Bn / 8][4]) {
  if (p.swiglu()) {
    const int first_column = tile_n * (Tile::Bn / 2);
    complete_sums<Pairs::Halves, Tile::kE4m3>(p, first_row, row_end, first_column, lane, sums);
    store_sums<Pairs::Halves>(p, first_row, row_end, first_column, lane, sums);
    return;
  }
  const int first_column = tile_n * Tile::Bn;
  complete_sums<Pairs::None, Tile::kE4m3>(p, first_row, row_end, first_column, lane, sums);
  if constexpr (Tile::kHeads) rotate_heads<Tile>(p, first_row, first_column, lane, sums);
  store_sums<Pairs::None>(p, first_row, row_end, first_column, lane, sums);
}

template <class Tile>
__device__ __forceinline__ void consume(const LinearProblems& problems, const TileOrders& orders, int consumer,
                                        const char* ring, uint64_t* full, uint64_t* empty) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32 % 4;
  // This warp has done with a stage: every block that copies to it waits for that.
  const auto release = [&](int stage) {
    if (lane != 0) return;
#pragma unroll
    for (int rank = 0; rank < 2; rank++)
      if (rank < orders.blocks) mbarrier_arrive_in(empty + stage, static_cast<uint32_t>(rank));
  };
  // e4m3: barrier 1 + consumer opens when the other warpgroup has queued its products.
  const auto my_turn = [&] { named_barrier_sync(1 + consumer, 256); };
  const auto your_turn = [&] { named_barrier_arrive(2 - consumer, 256); };
  if (Tile::kE4m3 && consumer == 1) your_turn();

  RingPosition<Tile::kStages> at;
  for (int index = orders.first(); index < orders.count; index += orders.clusters()) {
    const TilePlace place(orders, index, static_cast<int>(cluster_rank()));
    const LinearProblem& p = problems.product[place.product];
    const int steps = (p.k + Tile::Bk - 1) / Tile::Bk, item_rows = orders.product[place.product].item_rows;
    const int first_row = place.item * item_rows + place.tile_m * Tile::Bm + consumer * 64;  // of the warpgroup
    const int row_end = (place.item + 1) * item_rows;
    prefetch_residual<64, Tile::Bn, 128>(p, first_row, row_end, place.tile_n);
    float sums[Tile::Bn / 8][4];
    if constexpr (Tile::kE4m3) {
#pragma unroll
      for (int i = 0; i < Tile::Bn / 8; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) sums[i][e] = 0;
    }
    int before = 0;
    for (int step = 0; step < steps; step++, at.next()) {
      const char* const stage = ring + at.stage * Tile::stage_bytes;
      const char* const x = stage + consumer * 64 * Tile::kRowBytes;
      const char* const weight = stage + Tile::Bm * Tile::kRowBytes;
      wait_for(full + at.stage, at.parity);
      if constexpr (Tile::kE4m3) {
        float apart[Tile::Bn / 8][4];
        my_turn();
        queue_products<Tile>(x, weight, false, apart);
        your_turn();
        wgmma_wait<0>();
        wgmma_finished(apart);
        release(at.stage);
#pragma unroll
        for (int i = 0; i < Tile::Bn / 8; i++)
#pragma unroll
          for (int e = 0; e < 4; e++) sums[i][e] += apart[i][e];
      } else {
        queue_products<Tile>(x, weight, step > 0, sums);
        // The products of the step before are done: its stage may be filled again.
        wgmma_wait<1>();
        if (step > 0) release(before);
        before = at.stage;
      }
    }
    if constexpr (!Tile::kE4m3) {
      wgmma_wait<0>();
      wgmma_finished(sums);
      release(before);
    }

    const int row = first_row + warp * 16;
    if (row < row_end) finish_tile<Tile>(p, row, row_end, place.tile_n, lane, sums);
  }
  if (Tile::kE4m3 && consumer == 0) my_turn();  // takes the other's last turn, so that no barrier is left half full
}

#endif

template <class Tile>
__global__ void __launch_bounds__(Tile::threads, 1)
    linear_wgmma_kernel(const __grid_constant__ LinearProblems problems, const __grid_constant__ TileOrders orders,
                        const __grid_constant__ LinearMaps maps) {
#ifdef ICONFACE_SM90A
  char* const ring = shared_memory<char>();
  uint64_t* const full = reinterpret_cast<uint64_t*>(ring + Tile::kStages * Tile::stage_bytes);
  uint64_t* const empty = full + Tile::kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Tile::kStages; i++) {
      mbarrier_init(full + i, 1);
      mbarrier_init(empty + i, 4 * Tile::consumers * orders.blocks);  // one lane of every consuming warp
    }
    fence_mbarrier_init();
    fence_proxy_async();
  }
  cluster_sync();
  const int group = static_cast<int>(threadIdx.x) / 128;
  if (group == 0) {
    setmaxnreg_dec<40>();
    if (threadIdx.x == 0) produce<Tile>(problems, orders, maps, ring, full, empty);
  } else {
    setmaxnreg_inc<232>();
    consume<Tile>(problems, orders, group - 1, ring, full, empty);
  }
  cluster_sync();  // the other block may still arrive at this one's barriers
#endif
}

template <class Tile>
TileOrders orders_of(const LinearProblems& problems, int blocks) {
  TileOrders o = {};
  o.blocks = blocks;
  for (int i = 0; i < problems.count; i++) {
    const LinearProblem& p = problems.product[i];
    const int columns = p.swiglu() ? Tile::Bn / 2 : Tile::Bn, items = p.x.levels == 2 ? p.x.shape[0] : 1;
    TileOrder& order = o.product[i];
    order.item_rows = p.m / items;
    order.tiles_per_item = (order.item_rows + Tile::Bm - 1) / Tile::Bm;
    order.tiles_m = items * order.tiles_per_item;
    order.tiles_n = (p.n + columns - 1) / columns;
    order.bundles_m = (order.tiles_m + blocks - 1) / blocks;
    o.count += order.count();
    o.end[i] = o.count;
  }
  return o;
}

/// The rate of a block that works alone and reads half as much again, as a share of one in a pair: estimated, not
/// measured.
constexpr double kAlone = 0.85;

/// Pairs of blocks, unless single ones are done sooner.
template <class Tile>
TileOrders best_orders(const LinearProblems& p, int multiprocessors) {
  const TileOrders single = orders_of<Tile>(p, 1), pairs = orders_of<Tile>(p, 2);
  const bool paired = multiprocessors > 1 && pairs.count < single.count;
  return paired && kAlone * pairs.rounds(multiprocessors) <= single.rounds(multiprocessors) ? pairs : single;
}

/// A product's operands for the copy engine; false where it does not take them.
inline bool make_linear_maps(const LinearProblem& p, int rows, int weight_rows, TensorMap* x, TensorMap* weight) {
  const bool several = p.x.levels == 2;
  const int items = several ? p.x.shape[0] : 1;
  return make_tensor_map(x, p.x.data, p.x_type, {p.k, p.m / items, items}, {p.x.stride[several ? 1 : 0], p.x.stride[0]},
                         rows) &&
         make_tensor_map(weight, p.weight, p.weight_type, {p.k, p.n, p.swiglu() ? 2 : 1},
                         {p.weight_stride, p.n * p.weight_stride}, weight_rows);
}

/// Returns whether heads are done.
template <class Tile>
bool run_wgmma(Context& ctx, const LinearProblems& p) {
  const int multiprocessors = device_of(ctx).multiprocessors();
  const TileOrders orders = best_orders<Tile>(p, multiprocessors);
  LinearMaps maps = {};
  for (int i = 0; i < p.count; i++)
    if (!make_linear_maps(p.product[i], Tile::Bm, Tile::Bn / 2, &maps.x[i], &maps.weight[i]))
      fail(Code::Internal, "linear: the copy engine takes no tiles of %d rows", Tile::Bn / 2);
  const Grid grid(dim3(std::min(orders.count, multiprocessors / orders.blocks) * orders.blocks), orders.blocks);
  launch(ctx, linear_wgmma_kernel<Tile>, grid, dim3(Tile::threads), Tile::shared_bytes, p, orders, maps);
  return Tile::kHeads;
}

/// Time of the products in tiles of this size, up to a factor.
template <class Tile>
double wgmma_time(const LinearProblems& p, int multiprocessors, double rate) {
  const TileOrders orders = best_orders<Tile>(p, multiprocessors);
  const double pass = p.has_heads() && !Tile::kHeads ? kHeadsPass : 1;
  return orders.rounds(multiprocessors) * Tile::Bn / (orders.blocks > 1 ? rate : kAlone * rate) * pass;
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
