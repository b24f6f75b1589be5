// random_normal: the noise that sampling begins with.                                          model-specification.md 6
#pragma once
#include "runtime/context.h"

namespace iconface::op {

enum class Generator {
  TorchCuda,  // Philox4x32-10 and Box-Muller, one element per thread, as torch.randn on a CUDA generator
  TorchCpu,   // MT19937 as torch.randn on the CPU: 16 and more elements are filled another way than fewer
};
/// Standard normal noise as PyTorch makes it from `seed`.
struct RandomNormalArgs {
  uint64_t seed = 0;
  Generator generator = Generator::TorchCuda;
  Tensor out;  // F32, contiguous
};
void random_normal(Context&, const RandomNormalArgs&);

}  // namespace iconface::op
