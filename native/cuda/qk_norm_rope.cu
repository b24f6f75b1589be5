// qk_norm_rope: y = RMS(x) * scale over each head, then the pair (e, o) -> (cos e - sin o, sin e + cos o)
// model-specification.md 2, 3
// In place on q and k [batch, tokens, H, d], in f32, rounded once at the end.
//
// Work split: one block per token, for all heads of q and k and all batch items, which share the token's angles. A head
// belongs to `lanes` neighbouring threads of a warp (d = 128 in bf16: 16 threads of 8 channels), which hold their
// angles and learned scales in registers; each group of lanes takes kAtOnce heads at a time, all loads before the first
// use. Heads too long for a warp's registers are read twice. Where the pairs are halves (m, m + d/2) a thread takes its
// channels from both, and holds them in the order of pairs.
// Must move: q and k once each way; angles and scales stay in the caches (klein-4B, 2,560 tokens, bf16: 63 MB).
// Limit: copy bandwidth.
#include <algorithm>

#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kThreads = 128, kAtOnce = 3;
constexpr float kEpsilon = 1e-6f;

/// q or k, its heads numbered through all batch items.
struct Heads {
  void* data = nullptr;
  const void* scale = nullptr;
  DType scale_type = DType::F32;
  int count = 0, heads = 1;                                     // in all; of one batch item
  int64_t batch_stride = 0, token_stride = 0, head_stride = 0;  // elements

  Heads() = default;
  Heads(const Tensor& x, const Tensor& learned)
      : data(x.data),
        scale(learned.data),
        scale_type(learned.dtype),
        count(static_cast<int>(x.shape[0] * x.shape[2])),
        heads(static_cast<int>(x.shape[2])),
        batch_stride(x.stride[0]),
        token_stride(x.stride[1]),
        head_stride(x.stride[2]) {}

  template <class T>
  __device__ __forceinline__ T* at(int64_t token, int index) const {
    return static_cast<T*>(data) + index / heads * batch_stride + token * token_stride + index % heads * head_stride;
  }
};

struct Arguments {
  Heads q, k;
  const float *cos, *sin;
  int64_t cos_stride, sin_stride;
  int d, lanes;
};

/// The learned scale is tiny and of any type.
__device__ __forceinline__ float learned(const Heads& h, int i) {
  if (h.scale_type == DType::F32) return static_cast<const float*>(h.scale)[i];
  if (h.scale_type == DType::BF16) return to_float(static_cast<const bf16*>(h.scale)[i]);
  return to_float(static_cast<const f16*>(h.scale)[i]);
}

/// Where element i of N, in the order of pairs, is in a head of d channels: `first` is that of element 0 in this order.
template <bool kHalves>
__device__ __forceinline__ int channel_of(int d, int first, int i) {
  return kHalves ? i % 2 * (d / 2) + first / 2 + i / 2 : first + i;
}

/// N channels in the order of pairs: 16 bytes at once, or for heads that are not aligned one by one.
template <int N, bool kAligned, bool kHalves, class T>
__device__ __forceinline__ Floats<N> load_channels(const T* head, int d, int first) {
  Floats<N> v;
  if constexpr (!kAligned) {
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = to_float(head[channel_of<kHalves>(d, first, i)]);
  } else if constexpr (kHalves) {
    const Floats<N / 2> e = load<N / 2>(head + first / 2), o = load<N / 2>(head + d / 2 + first / 2);
#pragma unroll
    for (int i = 0; i < N; i++) v[i] = i % 2 ? o[i / 2] : e[i / 2];
  } else {
    v = load<N>(head + first);
  }
  return v;
}
template <int N, bool kAligned, bool kHalves, class T>
__device__ __forceinline__ void store_channels(T* head, int d, int first, const Floats<N>& v) {
  if constexpr (!kAligned) {
#pragma unroll
    for (int i = 0; i < N; i++) head[channel_of<kHalves>(d, first, i)] = from_float<T>(v[i]);
  } else if constexpr (kHalves) {
    Floats<N / 2> e, o;
#pragma unroll
    for (int i = 0; i < N; i++) (i % 2 ? o : e)[i / 2] = v[i];
    store(head + first / 2, e);
    store(head + d / 2 + first / 2, o);
  } else {
    store(head + first, v);
  }
}

template <int N>
__device__ __forceinline__ float squares_of(const Floats<N>& v) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < N; i++) sum += v[i] * v[i];
  return sum;
}

/// The sum over the lanes of a head, in each of them. All threads of the warp take part.
__device__ __forceinline__ float head_sum(float v, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) v += __shfl_xor_sync(0xffffffffu, v, distance);
  return v;
}

/// The angles and learned scales of elements [first, first + N), in the order of pairs, of one token.
template <int N, bool kHalves>
struct Rotation {
  float cos[N / 2], sin[N / 2], scale[N];

  __device__ __forceinline__ Rotation(const Arguments& a, const Heads& h, int64_t token, int first) {
#pragma unroll
    for (int i = 0; i < N; i++) scale[i] = first < a.d ? learned(h, channel_of<kHalves>(a.d, first, i)) : 0.0f;
#pragma unroll
    for (int m = 0; m < N / 2; m++) {
      cos[m] = first < a.d ? a.cos[token * a.cos_stride + first / 2 + m] : 0.0f;
      sin[m] = first < a.d ? a.sin[token * a.sin_stride + first / 2 + m] : 0.0f;
    }
  }
  __device__ __forceinline__ Floats<N> apply(const Floats<N>& x, float inverse) const {
    Floats<N> y;
#pragma unroll
    for (int m = 0; m < N / 2; m++) {
      const float e = x[2 * m] * inverse * scale[2 * m], o = x[2 * m + 1] * inverse * scale[2 * m + 1];
      y[2 * m] = cos[m] * e - sin[m] * o;
      y[2 * m + 1] = sin[m] * e + cos[m] * o;
    }
    return y;
  }
};

/// All heads of one tensor at this token. Every thread of the block makes the same number of rounds.
template <class T, int N, bool kAligned, bool kHalves, bool kWholeHead>
__device__ __forceinline__ void rotate_heads(const Arguments& a, const Heads& h, int64_t token) {
  if (h.count == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % a.lanes, group = static_cast<int>(threadIdx.x) / a.lanes;
  const int groups = kThreads / a.lanes, first = lane * N, step = a.lanes * N;
  const float share = 1.0f / static_cast<float>(a.d);
  if constexpr (kWholeHead) {
    const Rotation<N, kHalves> rotation(a, h, token, first);
    for (int base = 0; base < h.count; base += groups * kAtOnce) {
      Floats<N> x[kAtOnce] = {};
      const auto index = [&](int i) { return base + i * groups + group; };
      const auto mine = [&](int i) { return index(i) < h.count && first < a.d; };
#pragma unroll
      for (int i = 0; i < kAtOnce; i++)
        if (mine(i)) x[i] = load_channels<N, kAligned, kHalves>(h.at<const T>(token, index(i)), a.d, first);
#pragma unroll
      for (int i = 0; i < kAtOnce; i++) {
        const float inverse = 1.0f / sqrtf(head_sum(squares_of(x[i]), a.lanes) * share + kEpsilon);
        if (mine(i))
          store_channels<N, kAligned, kHalves>(h.at<T>(token, index(i)), a.d, first, rotation.apply(x[i], inverse));
      }
    }
  } else {
    for (int base = 0; base < h.count; base += groups) {
      const bool mine = base + group < h.count;
      T* head = mine ? h.at<T>(token, base + group) : nullptr;
      float squares = 0;
      const auto channels = [&](int at) { return load_channels<N, kAligned, kHalves>(head, a.d, at); };
      for (int at = first; mine && at < a.d; at += step) squares += squares_of(channels(at));
      const float inverse = 1.0f / sqrtf(head_sum(squares, a.lanes) * share + kEpsilon);
      for (int at = first; mine && at < a.d; at += step)
        store_channels<N, kAligned, kHalves>(head, a.d, at,
                                             Rotation<N, kHalves>(a, h, token, at).apply(channels(at), inverse));
    }
  }
}

template <class T, int N, bool kAligned, bool kHalves, bool kWholeHead>
__global__ void __launch_bounds__(kThreads) qk_norm_rope_kernel(Arguments a) {
  rotate_heads<T, N, kAligned, kHalves, kWholeHead>(a, a.q, blockIdx.x);
  rotate_heads<T, N, kAligned, kHalves, kWholeHead>(a, a.k, blockIdx.x);
}

template <class T, int N, bool kAligned, bool kHalves>
void run(Context& ctx, Arguments a, int64_t tokens) {
  a.lanes = 1;
  while (a.lanes < 32 && a.lanes * N < a.d) a.lanes *= 2;
  const bool whole = a.lanes * N >= a.d;
  launch(
      ctx,
      whole ? qk_norm_rope_kernel<T, N, kAligned, kHalves, true> : qk_norm_rope_kernel<T, N, kAligned, kHalves, false>,
      dim3(blocks_for(tokens, 1)), dim3(kThreads), 0, a);
}

/// q and k of one type (either may be empty).
template <bool kHalves>
void run_tensors(Context& ctx, const op::QkNormRopeArgs& a, const Tensor& q, const Tensor& k) {
  const Tensor& any = q.defined() ? q : k;
  if (!any.defined() || any.elements() == 0) return;
  Arguments arguments;
  if (q.defined()) arguments.q = Heads(q, a.q_scale);
  if (k.defined()) arguments.k = Heads(k, a.k_scale);
  arguments.cos = a.cos.as<const float>();
  arguments.sin = a.sin.as<const float>();
  arguments.cos_stride = a.cos.stride[0];
  arguments.sin_stride = a.sin.stride[0];
  arguments.d = static_cast<int>(any.shape[3]);
  const int64_t tokens = any.shape[1];
  if (any.dtype == DType::BF16)
    moves_by(8, {&q, &k}) ? run<bf16, 8, true, kHalves>(ctx, arguments, tokens)
                          : run<bf16, 2, false, kHalves>(ctx, arguments, tokens);
  else
    moves_by(4, {&q, &k}) ? run<float, 4, true, kHalves>(ctx, arguments, tokens)
                          : run<float, 2, false, kHalves>(ctx, arguments, tokens);
}

}  // namespace

void qk_norm_rope(Context& ctx, const op::QkNormRopeArgs& a) {
  if (ctx.planning()) return;
  const auto run = a.pairs == op::RopePairs::Halves ? run_tensors<true> : run_tensors<false>;
  if (a.q.defined() && a.k.defined() && a.q.dtype != a.k.dtype) {
    run(ctx, a, a.q, {});
    run(ctx, a, {}, a.k);
    return;
  }
  run(ctx, a, a.q, a.k);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
