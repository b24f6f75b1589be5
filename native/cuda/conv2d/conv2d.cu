// conv2d: out = act(conv(upsample(x)) + bias) + residual, channels last, as a matrix product without an im2col matrix:
// rows are output pixels, columns output channels, K = (tap, channel).
//
// conv2d_mma.cu multiplies bf16 on tensor cores, conv2d_fma.cu f32 exactly. Both read x and the weights in chunks of 16
// bytes along the channels. What does not come like that (another type, 3 channels) is brought into that form first:
// widened or rounded, with zeros up to the next chunk, in scratch memory.
// Work split of that: a thread per chunk. Must move: x once each way (VAE's last upsampling, 256 x 256 x 512, f32 to
// bf16: 201 MB; the convolution itself has 0.6 TFLOP). Limit: copy bandwidth.
#include "cuda/common/vectors.cuh"
#include "cuda/conv2d/conv2d.cuh"
#include "cuda/kernels.h"
#include "op/convert.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 256;

template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    pad_channels_kernel(const From* x, To* out, int64_t total, int channels, int chunks) {
  constexpr int kChunk = 16 / sizeof(To);
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= total) return;
  const int64_t row = at / chunks;
  const int first = static_cast<int>(at % chunks) * kChunk;
  Floats<kChunk> v = {};
#pragma unroll
  for (int i = 0; i < kChunk; i++)
    if (first + i < channels) v[i] = to_float(x[row * channels + first + i]);
  store(out + at * kChunk, v);
}

template <class From, class To>
void pad_channels(Context& ctx, const Tensor& x, void* out, int chunks) {
  const int64_t total = x.rows() * chunks;
  launch(ctx, pad_channels_kernel<From, To>, dim3(blocks_for(total, kThreads)), dim3(kThreads), 0, x.as<const From>(),
         static_cast<To*>(out), total, static_cast<int>(x.last()), chunks);
}

/// x as rows of `chunks` 16-byte chunks of `type`: its own memory where it is like that already, else a copy in scratch
/// memory. The address of x does not matter to what is taken while planning: a copy is planned for unless x can do.
const void* in_chunks(Context& ctx, const Tensor& x, DType type, int chunks) {
  const int64_t element = dtype_bytes(type), row = chunks * int64_t{16};
  const bool fits = x.dtype == type && x.last() * element == row;
  if (fits && reinterpret_cast<uintptr_t>(x.data) % 16 == 0) return x.data;
  void* out = ctx.workspace.bytes(x.rows() * row);
  if (ctx.planning()) return out;
  if (x.last() * element == row) {  // no padding: the faster copy
    op::ConvertArgs a = {x, Tensor::of(out, type, {x.rows(), x.last()})};
    a.x = x.reshape({x.rows(), x.last()});
    ICONFACE_CUDA_TARGET::convert(ctx, a);
  } else if (type == DType::BF16) {
    x.dtype == DType::F32    ? pad_channels<float, bf16>(ctx, x, out, chunks)
    : x.dtype == DType::BF16 ? pad_channels<bf16, bf16>(ctx, x, out, chunks)
                             : pad_channels<f16, bf16>(ctx, x, out, chunks);
  } else {
    x.dtype == DType::F32    ? pad_channels<float, float>(ctx, x, out, chunks)
    : x.dtype == DType::BF16 ? pad_channels<bf16, float>(ctx, x, out, chunks)
                             : pad_channels<f16, float>(ctx, x, out, chunks);
  }
  return out;
}

}  // namespace

void conv2d(Context& ctx, const op::Conv2dArgs& a) {
  const int per_chunk = a.compute == DType::BF16 ? 8 : 4;
  Workspace::Frame frame(ctx.workspace);
  ConvProblem p = {};
  p.chunks = static_cast<int>((a.x.last() + per_chunk - 1) / per_chunk);
  p.x = in_chunks(ctx, a.x, a.compute, p.chunks);
  p.weight = in_chunks(ctx, a.weight, a.compute, p.chunks);
  if (ctx.planning()) return;
  if (a.out.rows() > INT32_MAX)
    fail(Code::InvalidArgument, "conv2d: out %s has too many pixels", a.out.describe().c_str());
  p.out = a.out.data;
  p.bias = a.bias.as<const float>();
  p.slope = a.slope.as<const float>();
  p.residual = a.residual.as<const float>();
  p.out_type = a.out.dtype;
  p.wide_out = moves_by(2, {&a.out, &a.residual});
  p.height = static_cast<int>(a.x.shape[1]);
  p.width = static_cast<int>(a.x.shape[2]);
  p.out_height = static_cast<int>(a.out.shape[1]);
  p.out_width = static_cast<int>(a.out.shape[2]);
  p.channels = static_cast<int>(a.out.shape[3]);
  p.kernel_width = static_cast<int>(a.weight.shape[2]);
  p.taps = static_cast<int>(a.weight.shape[1] * a.weight.shape[2]);
  p.stride = a.stride;
  p.pad_top = a.pad_top;
  p.pad_left = a.pad_left;
  p.upsample = a.upsample;
  p.pixels = static_cast<int>(a.out.rows());
  a.compute == DType::BF16 ? conv2d_mma(ctx, p) : conv2d_fma(ctx, p);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
