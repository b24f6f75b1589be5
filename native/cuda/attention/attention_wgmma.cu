// attention, bf16 on Hopper (sm_90a), head size 128: out = softmax(scale q k^T) v, not causal, by wgmma and TMA.
//
// Work split, in the manner of FlashAttention-3: one block per multiprocessor goes through tiles of 128 query rows of
// one head. Its first warpgroup is the producer: one thread brings q, and blocks of 128 keys and values into two
// stages each, by TMA. The other two take 64 rows each: scores = q k^T from shared memory, the streamed softmax of
// attention_mma.cu in registers, out += p v with p as the register operand. Within a warpgroup the scores of block j
// + 1 and p v of block j are under way together, and the softmax of j + 1 runs beside p v of j; between the
// warpgroups named barriers order the products (ping-pong), so that one's softmax runs while the other multiplies. v
// is read transposed by the tensor cores: nothing is transposed in memory. Blocks do not span segments; what a block
// lacks arrives as zeros and is scored -infinity.
//
// Must move: q, k, v and out once (k and v of a head are shared through the L2 cache); klein-4B, 2,560 tokens: 63 MB
// against 80.5 GFLOP and 157 million exponentials. Limit: the tensor cores' bf16 rate beside 16 exponentials a clock.
#include "cuda/attention/attention.cuh"
#include "cuda/common/ptx.cuh"
#include "cuda/common/ring.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kD = 128, kRows = 128, kKeys = 128, kStages = 2;
constexpr int kConsumers = 2, kThreads = 128 * (1 + kConsumers);
constexpr int kTile = 128 * kD;  // elements
constexpr int kSharedBytes = (1 + 2 * kStages) * kTile * 2 + 64 * 8;

/// Every segment's tensors as [batch, heads, tokens, 128].
struct AttentionMaps {
  TensorMap q[AttentionProblem::kMax], k[AttentionProblem::kMax], v[AttentionProblem::kMax];
};

#ifdef ICONFACE_SM90A

constexpr int kHalf = kTile / 2;  // a tile is two halves of 64 channels, rows of 128 bytes

struct Barriers {
  uint64_t q_full, q_empty;
  uint64_t k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
};
struct Shared {
  __nv_bfloat16 *q, *k, *v;
  Barriers* barriers;

  __device__ __forceinline__ Shared() {
    q = shared_memory<__nv_bfloat16>();
    k = q + kTile;
    v = k + kStages * kTile;
    barriers = reinterpret_cast<Barriers*>(v + kStages * kTile);
  }
};

/// 128 tokens of one head, both halves of the channels. What is expanded along the batch has one item only.
__device__ __forceinline__ void load_tile(__nv_bfloat16* to, const TensorMap* map, const AttentionRun& run,
                                          uint64_t* full, int first, Head head) {
  mbarrier_arrive_expect_tx(full, 2 * kTile);
  const int item = run.batch_stride == 0 ? 0 : head.batch;
  for (int half = 0; half < 2; half++) tma_load_4d(to + half * kHalf, map, full, half * 64, first, head.index, item);
}

__device__ __forceinline__ void produce(const AttentionProblem& p, const AttentionMaps& maps, const Shared& s,
                                        int tiles, int query_blocks, int key_blocks) {
  RingPosition<kStages> at;
  uint32_t q_parity = 1;
  for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
    const Head head = p.head(tile / query_blocks);
    const TokenBlock rows = TokenBlock::at(p.queries, tile % query_blocks, kRows);
    wait_for(&s.barriers->q_empty, q_parity);
    q_parity ^= 1;
    load_tile(s.q, &maps.q[rows.segment], p.q[rows.segment], &s.barriers->q_full, rows.first, head);
    for (int block = 0; block < key_blocks; block++, at.next()) {
      const TokenBlock keys = TokenBlock::at(p.keys, block, kKeys);
      wait_for(s.barriers->k_empty + at.stage, at.parity ^ 1);
      load_tile(s.k + at.stage * kTile, &maps.k[keys.segment], p.k[keys.segment], s.barriers->k_full + at.stage,
                keys.first, head);
      wait_for(s.barriers->v_empty + at.stage, at.parity ^ 1);
      load_tile(s.v + at.stage * kTile, &maps.v[keys.segment], p.v[keys.segment], s.barriers->v_full + at.stage,
                keys.first, head);
    }
  }
}

/// scores = q k^T, 64 rows x 128 keys. Queued, not waited for.
__device__ __forceinline__ void multiply_keys(const __nv_bfloat16* q, const __nv_bfloat16* k, float (&scores)[16][4]) {
  const uint64_t a = wgmma_descriptor(q, 0, 1024), b = wgmma_descriptor(k, 0, 1024);
#pragma unroll
  for (int step = 0; step < kD / 16; step++) {
    const int at = step / 4 * (kHalf * 2 / 16) + step % 4 * 2;  // in 16 bytes
    wgmma_step(scores, a + at, b + at, step > 0);
  }
  wgmma_commit();
}

/// out += p v, 64 rows x 128 channels. Queued, not waited for.
__device__ __forceinline__ void multiply_values(const uint32_t (&p)[kKeys / 16][4], const __nv_bfloat16* v,
                                                float (&out)[16][4], bool accumulate) {
  const uint64_t b = wgmma_descriptor(v, kHalf * 2, 1024);
#pragma unroll
  for (int step = 0; step < kKeys / 16; step++)
    wgmma_step(out, p[step], b + step * (16 * 128 / 16), accumulate || step > 0);
  wgmma_commit();
}

__device__ __forceinline__ void consume(const AttentionProblem& p, const Shared& s, int consumer, int tiles,
                                        int query_blocks, int key_blocks) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32 % 4;
  const __nv_bfloat16* const q = s.q + consumer * 64 * 64;  // its rows within each half
  Barriers* const barriers = s.barriers;
  const auto release = [&](uint64_t* empty) {
    if (lane == 0) mbarrier_arrive(empty);
  };
  // Ping-pong: barrier 1 + consumer opens when the other warpgroup has queued its products.
  const auto my_turn = [&] { named_barrier_sync(1 + consumer, 256); };
  const auto your_turn = [&] { named_barrier_arrive(2 - consumer, 256); };
  if (consumer == 1) your_turn();

  RingPosition<kStages> k_at, v_at;
  uint32_t q_parity = 0;
  for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
    const Head head = p.head(tile / query_blocks);
    const TokenBlock rows = TokenBlock::at(p.queries, tile % query_blocks, kRows);
    float out[16][4], maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {}, shrink[2];
    uint32_t packed[kKeys / 16][4];
    const auto soften = [&](float(&scores)[16][4], int block) {
      const TokenBlock keys = TokenBlock::at(p.keys, block, kKeys);
      if (keys.count < kKeys) mask_keys(keys.count, lane, scores);
      soften_rows(p.scale, scores, maximum, sum, shrink);
    };
    const auto pack = [&](const float(&scores)[16][4]) {
#pragma unroll
      for (int step = 0; step < kKeys / 16; step++) pack_keys(scores, step, packed[step]);
    };

    wait_for(&barriers->q_full, q_parity);
    q_parity ^= 1;
    {
      float scores[16][4];
      wait_for(barriers->k_full + k_at.stage, k_at.parity);
      my_turn();
      wgmma_fence();
      multiply_keys(q, s.k + k_at.stage * kTile, scores);
      your_turn();
      wgmma_wait<0>();
      wgmma_finished(scores);
      release(barriers->k_empty + k_at.stage);
      k_at.next();
      soften(scores, 0);
      pack(scores);
    }
    for (int block = 1; block < key_blocks; block++) {
      float scores[16][4];
      wait_for(barriers->k_full + k_at.stage, k_at.parity);
      my_turn();
      wgmma_fence();
      multiply_keys(q, s.k + k_at.stage * kTile, scores);
      wait_for(barriers->v_full + v_at.stage, v_at.parity);
      wgmma_fence();
      multiply_values(packed, s.v + v_at.stage * kTile, out, block > 1);
      your_turn();
      wgmma_wait<1>();  // the scores; p v of the block before goes on beside the softmax
      wgmma_finished(scores);
      release(barriers->k_empty + k_at.stage);
      k_at.next();
      soften(scores, block);
      wgmma_wait<0>();
      wgmma_finished(out);
      release(barriers->v_empty + v_at.stage);
      v_at.next();
      scale_rows(shrink, out);
      pack(scores);
    }
    release(&barriers->q_empty);
    wait_for(barriers->v_full + v_at.stage, v_at.parity);
    wgmma_fence();
    multiply_values(packed, s.v + v_at.stage * kTile, out, key_blocks > 1);
    wgmma_wait<0>();
    wgmma_finished(out);
    release(barriers->v_empty + v_at.stage);
    v_at.next();
    store_rows(p, rows, head, 0, consumer * 64 + warp * 16, lane, sum, out);
  }
  if (consumer == 0) my_turn();  // takes the other's last turn, so that no barrier is left half full
}

#endif

__global__ void __launch_bounds__(kThreads, 1)
    attention_wgmma_kernel(const __grid_constant__ AttentionProblem p, const __grid_constant__ AttentionMaps maps,
                           int tiles, int query_blocks, int key_blocks) {
#ifdef ICONFACE_SM90A
  const Shared s;
  if (threadIdx.x == 0) {
    const int consumer_warps = 4 * kConsumers;  // one lane of each arrives
    mbarrier_init(&s.barriers->q_full, 1);
    mbarrier_init(&s.barriers->q_empty, consumer_warps);
    for (int i = 0; i < kStages; i++) {
      mbarrier_init(s.barriers->k_full + i, 1);
      mbarrier_init(s.barriers->v_full + i, 1);
      mbarrier_init(s.barriers->k_empty + i, consumer_warps);
      mbarrier_init(s.barriers->v_empty + i, consumer_warps);
    }
    fence_proxy_async();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / 128;
  if (group == 0) {
    setmaxnreg_dec<24>();
    if (threadIdx.x == 0) produce(p, maps, s, tiles, query_blocks, key_blocks);
  } else {
    setmaxnreg_inc<240>();
    consume(p, s, group - 1, tiles, query_blocks, key_blocks);
  }
#endif
}

bool make_map(TensorMap* map, const AttentionProblem& p, const AttentionRun& run, int tokens) {
  return make_tensor_map(map, run.data, DType::BF16, {kD, tokens, p.heads, run.batch_stride == 0 ? 1 : p.batch},
                         {run.token_stride, run.head_stride, run.batch_stride}, 128);
}

}  // namespace

bool attention_wgmma(Context& ctx, const AttentionProblem& p) {
  AttentionMaps maps = {};
  for (int i = 0; i < p.query_segments; i++)
    if (!make_map(&maps.q[i], p, p.q[i], p.queries[i])) return false;
  for (int i = 0; i < p.key_segments; i++)
    if (!make_map(&maps.k[i], p, p.k[i], p.keys[i]) || !make_map(&maps.v[i], p, p.v[i], p.keys[i])) return false;
  const int query_blocks = TokenBlock::blocks(p.queries, kRows), tiles = query_blocks * p.heads * p.batch;
  launch(ctx, attention_wgmma_kernel, dim3(std::min(tiles, device_of(ctx).multiprocessors())), dim3(kThreads),
         kSharedBytes, p, maps, tiles, query_blocks, TokenBlock::blocks(p.keys, kKeys));
  return true;
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
