// ChannelCut: how blocks share a map [images, pixels, channels], channels last. A thread keeps N channels, whose
// parameters it holds in registers, and walks down every `lines`-th pixel of its block's stretch; a warp's accesses are
// neighbours in memory.
#pragma once
#include <algorithm>

#include "cuda/common/vectors.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

struct ChannelCut {
  static constexpr int kThreads = 256;

  int64_t pixels;  // of an image
  int channels;
  int across;        // threads side by side along the channels
  int lines;         // pixels that a block takes at once
  int column_tiles;  // blocks side by side along the channels
  int64_t stretch;   // pixels of a block
  int stretches;     // of an image
  int64_t blocks;    // in all

  /// About `most_stretches` blocks down an image where it is large, else few enough to give a thread `rounds` pixels.
  __host__ ChannelCut(int64_t images, int64_t pixels, int64_t channels, int n, int rounds, int64_t most_stretches)
      : pixels(pixels), channels(static_cast<int>(channels)) {
    const int columns = static_cast<int>((channels + n - 1) / n);
    across = std::min(columns, kThreads);
    lines = kThreads / across;
    column_tiles = (columns + across - 1) / across;
    const int64_t least = static_cast<int64_t>(lines) * rounds, share = (pixels + most_stretches - 1) / most_stretches;
    stretch = std::max(least, (share + least - 1) / least * least);
    stretches = static_cast<int>((pixels + stretch - 1) / stretch);
    blocks = images * stretches * column_tiles;
  }

  /// What a thread works on: channels from `channel` on, of pixels first, first + lines, ... before end.
  struct Place {
    int64_t image, first, end;
    int stretch, line, channel;
    bool exists;
  };
  __device__ __forceinline__ Place place(int n) const {
    const int block = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
    Place p;
    p.stretch = block / column_tiles % stretches;
    p.image = block / column_tiles / stretches;
    p.line = thread / across;
    p.channel = (block % column_tiles * across + thread % across) * n;
    p.first = p.stretch * stretch + p.line;
    p.end = min((p.stretch + 1) * stretch, pixels);
    p.exists = p.line < lines && p.channel < channels;
    return p;
  }
  /// Pixels of line `line` of stretch `index`.
  __device__ __forceinline__ int64_t pixels_of(int index, int line) const {
    const int64_t count = min(stretch, pixels - index * stretch);
    return count > line ? (count - line + lines - 1) / lines : 0;
  }
};

/// out = f(x) on this thread's part, kAtOnce pixels at a time, all loads before the first store. `x` and `out` may be
/// the same map.
template <int N, int kAtOnce, class X, class Y, class F>
__device__ __forceinline__ void map_channels(const ChannelCut& cut, const X* x, Y* out, F f) {
  const ChannelCut::Place at = cut.place(N);
  if (!at.exists) return;
  const int64_t base = at.image * cut.pixels * cut.channels + at.channel;
  for (int64_t p = at.first; p < at.end; p += static_cast<int64_t>(cut.lines) * kAtOnce) {
    Floats<N> held[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; i++)
      if (const int64_t q = p + i * cut.lines; q < at.end) held[i] = load<N>(x + base + q * cut.channels);
#pragma unroll
    for (int i = 0; i < kAtOnce; i++)
      if (const int64_t q = p + i * cut.lines; q < at.end) store(out + base + q * cut.channels, f(held[i]));
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
