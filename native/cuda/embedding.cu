// embedding: out[i] = table[ids[i]], converted to out's type                                   model-specification.md 7
// ids [tokens], table [V, D], out [tokens, D].
//
// Work split: a block per token, whose threads move N neighbouring elements at a time. The ids are read on the host
// first, which waits for them: one outside the table must be named, and nothing written.
// Must move: one row of the table and one of out per token (Qwen3-4B, 512 tokens, bf16 to f32: 8 MB).
// Limit: copy bandwidth, and the ids' way to the host.
#include <algorithm>
#include <vector>

#include "cuda/common/rows.cuh"
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kMostThreads = 256;

template <class From, class To, int N>
__global__ void __launch_bounds__(kMostThreads) embedding_kernel(const int* ids, Rows table, Rows out, int width) {
  const From* from = table.row<const From>(ids[blockIdx.x]);
  To* to = out.row<To>(static_cast<int>(blockIdx.x));
  for (int at = static_cast<int>(threadIdx.x) * N; at < width; at += static_cast<int>(blockDim.x) * N)
    store(to + at, load<N>(from + at));
}

template <class From, class To, int N>
void run(Context& ctx, const op::EmbeddingArgs& a) {
  const int64_t width = a.table.last(), groups = (width + N - 1) / N;
  const unsigned threads = static_cast<unsigned>(std::min<int64_t>(kMostThreads, blocks_of(groups, 32) * 32));
  launch(ctx, embedding_kernel<From, To, N>, dim3(blocks_for(a.ids.shape[0], 1)), dim3(threads), 0,
         a.ids.as<const int>(), Rows::of(a.table), Rows::of(a.out), static_cast<int>(width));
}

template <class From>
void run_from(Context& ctx, const op::EmbeddingArgs& a) {
  const bool wide = moves_by(4, {&a.table, &a.out});
  if (a.out.dtype == DType::F32) return wide ? run<From, float, 4>(ctx, a) : run<From, float, 1>(ctx, a);
  wide ? run<From, bf16, 4>(ctx, a) : run<From, bf16, 1>(ctx, a);
}

}  // namespace

int64_t embedding(Context& ctx, const op::EmbeddingArgs& a) {
  const int64_t none = a.ids.shape[0];
  if (ctx.planning()) return none;
  std::vector<int32_t> ids(static_cast<size_t>(none));
  device_of(ctx).download(ids.data(), a.ids.data, a.ids.bytes());
  const auto wrong = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id < 0 || id >= a.table.shape[0]; });
  if (wrong != ids.end()) return wrong - ids.begin();
  switch (a.table.dtype) {
    case DType::F32:
      run_from<float>(ctx, a);
      break;
    case DType::BF16:
      run_from<bf16>(ctx, a);
      break;
    default:
      run_from<f16>(ctx, a);
  }
  return none;
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
