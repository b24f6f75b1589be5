// subsample: out[b, i, j, :] = x[b, s i, s j, :], a 1x1 max-pool with stride s                 model-specification.md 7
// Work split: a thread per 16 bytes of the result (or per element, where a pixel has no multiple of 16 bytes). Must
// move: out twice (AdaFace's largest, 56 x 56 x 64 F32: 1.6 MB). Limit: launching.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

/// Sizes of both maps; a pixel is `words` words.
struct Arguments {
  const void* x;
  void* out;
  int64_t total;  // words of out
  int height, width, out_height, out_width, words, stride;
};

template <int Bytes>
__global__ void __launch_bounds__(kThreads) subsample_kernel(Arguments a) {
  using Access = typename Word<Bytes>::type;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= a.total) return;
  const int64_t pixel = at / a.words, row = pixel / a.out_width;
  const int64_t image = row / a.out_height, y = row % a.out_height * a.stride, x = pixel % a.out_width * a.stride;
  static_cast<Access*>(a.out)[at] =
      static_cast<const Access*>(a.x)[((image * a.height + y) * a.width + x) * a.words + at % a.words];
}

}  // namespace

void subsample(Context& ctx, const op::SubsampleArgs& a) {
  if (ctx.planning()) return;
  const int64_t element = dtype_bytes(a.x.dtype), per_word = 16 / element;
  const bool wide = moves_by(static_cast<int>(per_word), {&a.x, &a.out});
  const int64_t words = a.x.last() / (wide ? per_word : 1);
  const Arguments arguments = {a.x.data,
                               a.out.data,
                               a.out.rows() * words,
                               static_cast<int>(a.x.shape[1]),
                               static_cast<int>(a.x.shape[2]),
                               static_cast<int>(a.out.shape[1]),
                               static_cast<int>(a.out.shape[2]),
                               static_cast<int>(words),
                               a.stride};
  launch(ctx,
         wide           ? subsample_kernel<16>
         : element == 4 ? subsample_kernel<4>
                        : subsample_kernel<2>,
         dim3(blocks_for(arguments.total, kThreads)), dim3(kThreads), 0, arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
