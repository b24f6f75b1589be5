// What the kernels of linear share: the problem as the device sees it, and how a row of out is written.
#pragma once
#include "base/e4m3.h"
#include "cuda/common/launch.cuh"
#include "cuda/common/numbers.cuh"
#include "cuda/common/rows.cuh"
#include "op/linear.h"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// out[m, n] = epilogue(sum_k x[m, k] W[n, k]); W has 2n rows for SwiGLU.
struct LinearProblem {
  Rows x, out;
  const void* weight;
  int64_t weight_stride;  // elements
  DType x_type, weight_type, out_type;
  int m, n, k;
  const float* bias;
  op::Activation activation;
  bool accumulate;
  bool wide_out;  // columns of out, bias and gates may be touched 8 bytes at a time
  Rows x_scale;   // e4m3: of every row of x, and of W
  const float* weight_scale;
  // Row r of out belongs to token r % tokens; gate[i] holds for the tokens before gate_end[i].
  int tokens, gates;
  int gate_end[op::Segmented::kMax];
  const float* gate[op::Segmented::kMax];
  // Columns [0, q_end) are heads of q, [q_end, k_end) of k, that the epilogue normalises and rotates.
  int q_end, k_end;
  const float *q_scale, *k_scale;
  const float *cos, *sin;  // of every token
  int64_t cos_stride, sin_stride;

  __host__ __device__ bool swiglu() const { return activation == op::Activation::Swiglu; }
};

/// What one launch makes.
struct LinearProblems {
  static constexpr int kMax = op::LinearGroup::kMax;
  int count = 0;
  LinearProblem product[kMax];

  __host__ void add(const LinearProblem& p) { product[count++] = p; }
  __host__ bool has_heads() const {
    bool any = false;
    for (int i = 0; i < count; i++) any = any || product[i].k_end > 0;
    return any;
  }
};

/// Channels of the heads that tensor-core tiles normalise and rotate: FLUX.2's. Others are done in a pass of their own.
constexpr int kHeadChannels = 128;
/// What such a pass makes of the time of the product: it moves 63 MB where klein-4B's linear1 at 512 px takes 1.1 ms.
constexpr double kHeadsPass = 1.02;

/// One row of out while its columns are finished.
struct OutRow {
  void* out;
  const float* gate;  // null: none

  __device__ __forceinline__ OutRow(const LinearProblem& p, int row) : gate(nullptr) {
    const int64_t offset = p.out.offset(row);
    out = p.out_type == DType::F32 ? static_cast<void*>(static_cast<float*>(p.out.data) + offset)
                                   : static_cast<__nv_bfloat16*>(p.out.data) + offset;
    if (p.gates == 0) return;
    const int token = row % p.tokens;
#pragma unroll
    for (int i = op::Segmented::kMax - 1; i >= 0; i--)
      if (i < p.gates && token < p.gate_end[i]) gate = p.gate[i];
  }

  /// The finished value v into column `column`.
  __device__ __forceinline__ void store(const LinearProblem& p, int column, float v) const {
    if (p.out_type == DType::BF16) {
      static_cast<__nv_bfloat16*>(out)[column] = to_bf16(v);
      return;
    }
    float* const to = static_cast<float*>(out) + column;
    if (gate != nullptr)
      *to += gate[column] * v;
    else
      *to = p.accumulate ? *to + v : v;
  }
  /// N finished values, all within the row, the first at a multiple of N columns of an F32 row with p.wide_out.
  template <int N>
  __device__ __forceinline__ void store_wide(const LinearProblem& p, int column, const float (&v)[N]) const {
    static_assert(N == 2 || N == 4);
    using Vector = std::conditional_t<N == 2, float2, float4>;
    union Values {
      Vector vector;
      float value[N];
      __device__ Values() {}
    };
    Values sum, scale;
    Vector* const to = reinterpret_cast<Vector*>(static_cast<float*>(out) + column);
    if (gate != nullptr) {
      sum.vector = *to;
      scale.vector = *reinterpret_cast<const Vector*>(gate + column);
#pragma unroll
      for (int i = 0; i < N; i++) sum.value[i] += scale.value[i] * v[i];
    } else if (p.accumulate) {
      sum.vector = *to;
#pragma unroll
      for (int i = 0; i < N; i++) sum.value[i] += v[i];
    } else {
#pragma unroll
      for (int i = 0; i < N; i++) sum.value[i] = v[i];
    }
    *to = sum.vector;
  }
};

// The launchers of linear.cu's cases.
void linear_few_rows(Context&, const LinearProblem&);
void linear_fma(Context&, const LinearProblem&);
/// Those on tensor cores make all products in one launch and return whether the heads of them are done.
bool linear_mma(Context&, const LinearProblems&);
bool linear_mma_e4m3(Context&, const LinearProblems&);  // sm_89 and later
bool linear_wgmma(Context&, const LinearProblems&);     // these two sm_90a only, for products that suit them
bool linear_wgmma_e4m3(Context&, const LinearProblems&);
bool suits_wgmma(const LinearProblem&);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
