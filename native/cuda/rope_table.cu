// rope_table: cos and sin of id_a * theta^(-2m / d_a), the axes' columns one after another     model-specification.md 2
// ids [tokens, axes] F32 or I32; cos, sin [tokens, d/2] F32. In double: at position 511 an f32 angle is wrong by 3e-5.
//
// Work split: a block takes kTokens tokens and kColumns columns; a thread's column is the same for all of its tokens,
// so that the power is taken once. Must move: both tables
// (512 px, 3 references: 4,608 + 512 tokens x 64 columns, 2.6 MB).
// Limit: double arithmetic, of which GPUs for games have little
// (a 64th of f32: some tenths of a millisecond a restore).
#include "cuda/common/vectors.cuh"
#include "cuda/kernels.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

namespace {

constexpr int kColumns = 32, kRows = 8, kTokens = 32;

struct Arguments {
  const void* ids;
  float *cos, *sin;
  int64_t ids_row, cos_row, sin_row, tokens;
  int columns;
  int axes_dim[op::RopeTableArgs::kMaxAxes];
  double theta;
};

template <class Id>
__global__ void __launch_bounds__(kColumns* kRows) rope_table_kernel(Arguments a) {
  const int column = static_cast<int>(blockIdx.y * kColumns + threadIdx.x);
  if (column >= a.columns) return;
  int axis = 0, m = column;
  while (m >= a.axes_dim[axis] / 2) m -= a.axes_dim[axis++] / 2;
  const double frequency = pow(a.theta, -2.0 * m / a.axes_dim[axis]);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTokens;
  const int64_t end = first + kTokens < a.tokens ? first + kTokens : a.tokens;
  for (int64_t token = first + threadIdx.y; token < end; token += kRows) {
    const Id id = static_cast<const Id*>(a.ids)[token * a.ids_row + axis];
    const double angle = static_cast<double>(id) * frequency;
    a.cos[token * a.cos_row + column] = static_cast<float>(cos(angle));
    a.sin[token * a.sin_row + column] = static_cast<float>(sin(angle));
  }
}

}  // namespace

void rope_table(Context& ctx, const op::RopeTableArgs& a) {
  if (ctx.planning()) return;
  Arguments arguments = {a.ids.data,
                         a.cos.as<float>(),
                         a.sin.as<float>(),
                         a.ids.stride[0],
                         a.cos.stride[0],
                         a.sin.stride[0],
                         a.ids.shape[0],
                         static_cast<int>(a.cos.last()),
                         {},
                         a.theta};
  for (int axis = 0; axis < a.axes; axis++) arguments.axes_dim[axis] = a.axes_dim[axis];
  launch(ctx, a.ids.dtype == DType::I32 ? rope_table_kernel<int32_t> : rope_table_kernel<float>,
         dim3(blocks_for(a.ids.shape[0], kTokens), blocks_for(a.cos.last(), kColumns)), dim3(kColumns, kRows), 0,
         arguments);
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
