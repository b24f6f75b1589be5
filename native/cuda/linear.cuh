// What the kernels of linear share: the problem as the device sees it, and the epilogue.
#pragma once
#include "cuda/launch.cuh"
#include "cuda/numbers.cuh"
#include "cuda/rows.cuh"
#include "op/linear.h"
#include "tensor/e4m3.h"

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

  __host__ __device__ bool swiglu() const { return activation == op::Activation::Swiglu; }
};

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

/// Which 8-column parts of a warp's sums are the two factors of one SwiGLU output.
enum class Pairs { None, Neighbours, Halves };

/// Epilogue of 16 rows of sums as a warp holds them after mma_m16n8k16 or wgmma: part f belongs to 8 columns, of which
/// lane l has 2 (l % 4) and the next in rows l / 4 ([0], [1]) and l / 4 + 8 ([2], [3]). Rows from row_end on do not exist.
/// kScaled: the operands were e4m3.
template <Pairs kPairs, bool kScaled, int kParts>
__device__ __forceinline__ void finish_rows(const LinearProblem& p, int first_row, int row_end, int first_column,
                                            int lane, const float (&sums)[kParts][4]) {
  constexpr bool kSwiglu = kPairs != Pairs::None;
  constexpr int kGroups = kSwiglu ? kParts / 2 : kParts;  // of 8 columns of out
  static_assert(kGroups % 2 == 0);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = first_row + half * 8 + lane / 4;
    const bool exists = row < row_end;
    const OutRow out(p, exists ? row : first_row);
    float row_scale = 1;
    if constexpr (kScaled)
      if (exists) row_scale = *p.x_scale.row<const float>(row);
    // The product with row `index` of W, and its bias.
    const auto product = [&](float sum, int index, bool exists) {
      if constexpr (kScaled) sum = sum * row_scale * (exists ? p.weight_scale[index] : 1.0f);
      return p.bias != nullptr && exists ? sum + p.bias[index] : sum;
    };
    const auto value = [&](int group, int e) {
      const int column = first_column + group * 8 + lane % 4 * 2 + e;
      const int first = kPairs == Pairs::Neighbours ? 2 * group : group;
      float v = product(sums[first][2 * half + e], column, column < p.n);
      if (p.activation != op::Activation::None) v = silu(v);
      if constexpr (kSwiglu) {
        const int second = kPairs == Pairs::Neighbours ? first + 1 : first + kGroups;
        v *= product(sums[second][2 * half + e], p.n + column, column < p.n);
      }
      return v;
    };
    // Two groups of 8 columns at a time.
#pragma unroll
    for (int j = 0; j < kGroups; j += 2) {
      const float v[2][2] = {{value(j, 0), value(j, 1)}, {value(j + 1, 0), value(j + 1, 1)}};
      if (p.out_type == DType::BF16 && p.wide_out) {
        // Even lanes take four columns of the first group, odd lanes four of the second.
        const bool odd = lane % 2 != 0;
        const uint32_t first = pack_bf16(v[0][0], v[0][1]), second = pack_bf16(v[1][0], v[1][1]);
        const uint32_t other = __shfl_xor_sync(0xffffffffu, odd ? first : second, 1);
        const int column = first_column + j * 8 + (odd ? 8 + (lane % 4 - 1) * 2 : lane % 4 * 2);
        if (exists && column < p.n)
          *reinterpret_cast<uint2*>(static_cast<__nv_bfloat16*>(out.out) + column) =
              odd ? make_uint2(other, second) : make_uint2(first, other);
      } else if (exists) {
#pragma unroll
        for (int g = 0; g < 2; g++) {
          const int column = first_column + (j + g) * 8 + lane % 4 * 2;
          if (p.out_type == DType::F32 && p.wide_out && column < p.n) {
            out.store_wide<2>(p, column, v[g]);
          } else {
            if (column < p.n) out.store(p, column, v[g][0]);
            if (column + 1 < p.n) out.store(p, column + 1, v[g][1]);
          }
        }
      }
    }
  }
}

/// The launchers of linear.cu's cases.
void linear_few_rows(Context&, const LinearProblem&);
void linear_fma(Context&, const LinearProblem&);
void linear_mma(Context&, const LinearProblem&);
void linear_mma_e4m3(Context&, const LinearProblem&);  // sm_89 and later
/// sm_90a only. False (and nothing done) where the problem does not suit them: then it is linear_mma's.
bool linear_wgmma(Context&, const LinearProblem&);
bool linear_wgmma_e4m3(Context&, const LinearProblem&);

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
