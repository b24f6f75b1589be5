// detector_input: resize to out's size, then B - 104, G - 117, R - 123                         model-specification.md 7
//   pixels [H, W, 3] U8 RGB -> out [h, w, 3] F32 or U8 (before the means are subtracted), B, G, R.
//   Result i of an axis lies at u = (i + 1/2) in / out - 1/2, computed in double, kept as a float: pixels floor(u) and
//   the next with the weights 1 - f and f, f = u - floor(u), in 1/2048. Horizontally the sums are exact integers R;
//   vertically ((w0 (R0 >> 4)) >> 16) + ((w1 (R1 >> 4)) >> 16), plus 2, >> 2. This is OpenCV's resize to the bit: no
//   product here may be fused with a sum (see times).
// Work split: a thread per result pixel. Must move: 3 bytes a picture pixel, 12 a result pixel. Limit: copy bandwidth.
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;
constexpr int kOne = 2048;  // a weight of 1

/// One axis: `in` pixels become `out`, whose neighbours lie `scale` apart.
struct Axis {
  int in, out;
  double scale;
};

Axis make_axis(int64_t in, int64_t out) {
  return {static_cast<int>(in), static_cast<int>(out), 1.0 / (static_cast<double>(out) / static_cast<double>(in))};
}

/// The two pixels that a result lies between, and the second one's weight; the first one's is the rest.
struct Between {
  int first, second, weight;

  /// Outside the outermost pixels' centres: along a row the edge pixel has all the weight (`whole_edges`), down a
  /// column only the index is clamped.
  __device__ Between(const Axis& axis, int i, bool whole_edges) {
    const float u = static_cast<float>(times(i + 0.5, axis.scale) - 0.5);
    const int below = static_cast<int>(floorf(u)), last = axis.in - 1;
    const bool edge = whole_edges && (below < 0 || below >= last);
    first = min(max(below, 0), last);
    second = min(max(below + 1, 0), last);
    weight = edge ? 0 : static_cast<int>(rintf((u - static_cast<float>(below)) * kOne));
  }
};

template <class Out>
__global__ void __launch_bounds__(kThreads)
    detector_input_kernel(const uint8_t* pixels, Out* out, Axis down, Axis across) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= static_cast<int64_t>(down.out) * across.out) return;
  const Between y(down, static_cast<int>(at / across.out), false), x(across, static_cast<int>(at % across.out), true);
  const uint8_t* upper = pixels + static_cast<int64_t>(y.first) * across.in * 3;
  const uint8_t* lower = pixels + static_cast<int64_t>(y.second) * across.in * 3;
#pragma unroll
  for (int c = 0; c < 3; c++) {  // B, G, R
    const int p = x.first * 3 + 2 - c, q = x.second * 3 + 2 - c, left = kOne - x.weight;
    const int r0 = upper[p] * left + upper[q] * x.weight, r1 = lower[p] * left + lower[q] * x.weight;
    const int value = ((((kOne - y.weight) * (r0 >> 4)) >> 16) + ((y.weight * (r1 >> 4)) >> 16) + 2) >> 2;
    const int mean = sizeof(Out) == 1 ? 0 : c == 0 ? 104 : c == 1 ? 117 : 123;
    out[at * 3 + c] = static_cast<Out>(value - mean);
  }
}

template <class Out>
void run(Context& ctx, const op::DetectorInputArgs& a) {
  launch(ctx, detector_input_kernel<Out>, dim3(blocks_for(a.out.rows(), kThreads)), dim3(kThreads), 0,
         a.pixels.as<const uint8_t>(), a.out.as<Out>(), make_axis(a.pixels.shape[0], a.out.shape[0]),
         make_axis(a.pixels.shape[1], a.out.shape[1]));
}

}  // namespace

void detector_input(Context& ctx, const op::DetectorInputArgs& a) {
  if (ctx.planning()) return;
  a.out.dtype == DType::U8 ? run<uint8_t>(ctx, a) : run<float>(ctx, a);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
