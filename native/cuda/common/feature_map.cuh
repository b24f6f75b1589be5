// Places of a feature map, [batch, height, width, channels], for kernels whose threads take N channels of a result
// pixel.
#pragma once
#include "cuda/common/vectors.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// A map's sizes; a pixel is `groups` times N channels.
struct FeatureMap {
  int height, width, groups;

  __host__ FeatureMap(const Tensor& t, int n)
      : height(static_cast<int>(t.shape[1])),
        width(static_cast<int>(t.shape[2])),
        groups(static_cast<int>(t.last() / n)) {}
};

/// A group of channels of a result pixel.
struct MapPlace {
  int64_t image;
  int y, x, group;

  __device__ __forceinline__ MapPlace(const FeatureMap& map, int64_t at) {
    group = static_cast<int>(at % map.groups);
    x = static_cast<int>(at / map.groups % map.width);
    y = static_cast<int>(at / map.groups / map.width % map.height);
    image = at / map.groups / map.width / map.height;
  }
};

template <int N>
__device__ __forceinline__ Floats<N> load_at(const float* data, const FeatureMap& map, int64_t image, int y, int x,
                                             int group) {
  return load<N>(data + (((image * map.height + y) * map.width + x) * map.groups + group) * N);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
