// linear's epilogue on tensor cores: 16 rows of sums as a warp holds them after mma_m16n8k16 or wgmma, to out. Part f
// of the sums belongs to 8 columns, of which lane l has 2 (l % 4) and the next in rows l / 4 ([0], [1]) and l / 4 + 8
// ([2], [3]). Rows from row_end on do not exist.
#pragma once
#include "cuda/common/ptx.cuh"
#include "cuda/linear/linear.cuh"

namespace iconface::cuda::ICONFACE_CUDA_TARGET {

/// Which parts are the two factors of one SwiGLU output.
enum class Pairs { None, Neighbours, Halves };

/// The 8 columns of out that part f belongs to, counted from the warp's first, and whether it is their second factor.
template <Pairs kPairs, int kParts>
struct PartOf {
  int group, second;
  __device__ __forceinline__ explicit PartOf(int f) {
    group = kPairs == Pairs::None ? f : kPairs == Pairs::Neighbours ? f / 2 : f % (kParts / 2);
    second = kPairs == Pairs::None ? 0 : kPairs == Pairs::Neighbours ? f % 2 : f / (kParts / 2);
  }
};

/// Sums of products become products of the rows: scaled, where the operands were e4m3, with the bias, and through SiLU.
template <Pairs kPairs, bool kScaled, int kParts>
__device__ __forceinline__ void complete_sums(const LinearProblem& p, int first_row, int row_end, int first_column,
                                              int lane, float (&sums)[kParts][4]) {
  if (kScaled || p.bias != nullptr) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = first_row + half * 8 + lane / 4;
      float row_scale = 1;
      if constexpr (kScaled)
        if (row < row_end) row_scale = *p.x_scale.row<const float>(row);
#pragma unroll
      for (int f = 0; f < kParts; f++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const PartOf<kPairs, kParts> part(f);
          const int column = first_column + part.group * 8 + lane % 4 * 2 + e, index = part.second * p.n + column;
          float& sum = sums[f][2 * half + e];
          if (column >= p.n) continue;
          if constexpr (kScaled) sum = sum * row_scale * p.weight_scale[index];
          if (!kScaled || p.bias != nullptr) sum += p.bias[index];
        }
    }
  }
  if (kPairs == Pairs::None && p.activation == op::Activation::Silu) {
#pragma unroll
    for (int f = 0; f < kParts; f++)
#pragma unroll
      for (int e = 0; e < 4; e++) sums[f][e] = fast_silu(sums[f][e]);
  }
}

/// Sums of squares of parts [kFirst, kFirst + kCount), for the rows l / 4 and l / 4 + 8.
template <int kFirst, int kCount, int kParts>
__device__ __forceinline__ void row_squares(const float (&sums)[kParts][4], float (&squares)[2]) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = 0;
#pragma unroll
    for (int f = kFirst; f < kFirst + kCount; f++)
      sum += sums[f][2 * half] * sums[f][2 * half] + sums[f][2 * half + 1] * sums[f][2 * half + 1];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    squares[half] = sum + __shfl_xor_sync(0xffffffffu, sum, 2);
  }
}

/// A warp's columns, from `column` of out on, are kHeads heads, or part of one; those before p.k_end, whose rows have
/// these sums of squares, become x / sqrt(mean(x^2) + 1e-6) * scale, then (e, o) -> (cos e - sin o, sin e + cos o).
/// The angles of a row are read once for all heads.
template <int kHeads, int kParts>
__device__ __forceinline__ void rotate_rows(const LinearProblem& p, int first_row, int column, int lane,
                                            const float (&squares)[kHeads][2], float (&sums)[kParts][4]) {
  constexpr int kCount = kParts / kHeads;  // parts of a head
  static_assert(kHeads == 1 || kCount * 8 == kHeadChannels);
  const int channel = column % kHeadChannels + lane % 4 * 2;
  const float* scale[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; h++) scale[h] = (column + h * kHeadChannels < p.q_end ? p.q_scale : p.k_scale) + channel;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int64_t token = (first_row + half * 8 + lane / 4) % p.tokens;
    const float* const cos = p.cos + token * p.cos_stride + channel / 2;
    const float* const sin = p.sin + token * p.sin_stride + channel / 2;
    float inverse[kHeads];
#pragma unroll
    for (int h = 0; h < kHeads; h++) inverse[h] = 1.0f / sqrtf(squares[h][half] * (1.0f / kHeadChannels) + 1e-6f);
#pragma unroll
    for (int f = 0; f < kCount; f++) {
      const float c = cos[4 * f], s = sin[4 * f];
#pragma unroll
      for (int h = 0; h < kHeads; h++) {
        if (column + h * kHeadChannels >= p.k_end) continue;
        float(&v)[4] = sums[h * kCount + f];
        const float2 learned = *reinterpret_cast<const float2*>(scale[h] + 8 * f);
        const float e = v[2 * half] * inverse[h] * learned.x, o = v[2 * half + 1] * inverse[h] * learned.y;
        v[2 * half] = c * e - s * o;
        v[2 * half + 1] = s * e + c * o;
      }
    }
  }
}

/// Asks the L2 cache for a tile of out that the epilogue adds to, while the products run: kRows rows from `row` on,
/// those before row_end, of tile `tile_n` of kColumns rows of W; by kThreads threads.
template <int kRows, int kColumns, int kThreads>
__device__ __forceinline__ void prefetch_residual(const LinearProblem& p, int row, int row_end, int tile_n) {
  if (p.gates == 0 && !p.accumulate) return;
  constexpr int kLine = 32;  // floats
  const int columns = p.swiglu() ? kColumns / 2 : kColumns, lines = columns / kLine;
  for (int i = static_cast<int>(threadIdx.x) % kThreads; i < kRows * lines; i += kThreads) {
    const int at_row = row + i / lines, column = tile_n * columns + i % lines * kLine;
    if (at_row < row_end && column < p.n) prefetch_l2(p.out.row<const float>(at_row) + column);
  }
}

/// One row's groups of 8 columns into an F32 out with p.wide_out, this lane's two of each from `column` on:
/// value(group, 0 or 1) alone, or times the gate and added to what is there. Several groups are read before the first
/// of them is stored: a read that waits for the store before it would cost a latency each.
template <int kGroups, class Value>
__device__ __forceinline__ void add_groups(const LinearProblem& p, const OutRow& row, bool exists, int column,
                                           Value value) {
  constexpr int kTogether = kGroups % 16 == 0 ? 16 : kGroups % 8 == 0 ? 8 : kGroups % 4 == 0 ? 4 : 2;
  const bool adds = exists && (row.gate != nullptr || p.accumulate);
  float* const out = static_cast<float*>(row.out) + column;
#pragma unroll
  for (int first = 0; first < kGroups; first += kTogether) {
    float2 sum[kTogether], scale[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; i++) {
      const int at = (first + i) * 8;
      const bool here = adds && column + at < p.n;
      sum[i] = here ? *reinterpret_cast<const float2*>(out + at) : make_float2(0, 0);
      scale[i] = here && row.gate != nullptr ? __ldg(reinterpret_cast<const float2*>(row.gate + column + at))
                                             : make_float2(1, 1);
    }
#pragma unroll
    for (int i = 0; i < kTogether; i++) {
      const int at = (first + i) * 8;
      const float2 v =
          make_float2(sum[i].x + scale[i].x * value(first + i, 0), sum[i].y + scale[i].y * value(first + i, 1));
      if (exists && column + at < p.n) *reinterpret_cast<float2*>(out + at) = v;
    }
  }
}

/// The product of SwiGLU's factors, gate and residual, and into out.
template <Pairs kPairs, int kParts>
__device__ __forceinline__ void store_sums(const LinearProblem& p, int first_row, int row_end, int first_column,
                                           int lane, const float (&sums)[kParts][4]) {
  constexpr bool kSwiglu = kPairs != Pairs::None;
  constexpr int kGroups = kSwiglu ? kParts / 2 : kParts;  // of 8 columns of out
  static_assert(kGroups % 2 == 0);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = first_row + half * 8 + lane / 4;
    const bool exists = row < row_end;
    const OutRow out(p, exists ? row : first_row);
    const auto value = [&](int group, int e) {
      if constexpr (!kSwiglu) {
        return sums[group][2 * half + e];
      } else {
        const int first = kPairs == Pairs::Neighbours ? 2 * group : group;
        const int second = kPairs == Pairs::Neighbours ? first + 1 : first + kGroups;
        return fast_silu(sums[first][2 * half + e]) * sums[second][2 * half + e];
      }
    };
    if (p.out_type == DType::F32 && p.wide_out) {
      add_groups<kGroups>(p, out, exists, first_column + lane % 4 * 2, value);
      continue;
    }
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
          if (column < p.n) out.store(p, column, v[g][0]);
          if (column + 1 < p.n) out.store(p, column + 1, v[g][1]);
        }
      }
    }
  }
}

}  // namespace iconface::cuda::ICONFACE_CUDA_TARGET
