// Convolutions of the face networks, each with the BatchNorm that follows it folded in.        model-specification.md 7
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "network/weights.h"

namespace iconface {

/// A BatchNorm with its stored statistics (eps 1e-5): x * scale + shift per channel.
struct FoldedNorm {
  std::vector<float> scale, shift;
};

/// `name`.running_mean, .running_var and, unless the norm has no `affine`, .weight and .bias.
FoldedNorm fold_norm(const Weights&, const std::string& name, bool affine);

struct Convolution {
  Tensor weight, bias;  // [O, kh, kw, C], [O] F32
  int64_t out() const { return weight.shape[0]; }
};

/// `conv`.weight [O, C, kh, kw] times the norm's scale, and its shift. -1 in `shape` accepts any size.
Convolution read_convolution(Context&, Weights&, const std::string& conv, const std::string& norm,
                             std::initializer_list<int64_t> shape = {-1, -1, -1, -1});

}  // namespace iconface
