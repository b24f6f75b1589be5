// What runs over the elements of vectors: blocks of them are the items that threads take. Limited by memory.
#pragma once
#include <algorithm>

#include "cpu/simd.h"
#include "runtime/context.h"

namespace iconface::cpu::ICONFACE_ISA {

constexpr int64_t kElementsPerItem = 1 << 14;

/// out[i] = f(i) for all i < n; f computes kLanes elements from `i`, of which the first `lanes` exist.
template <class Function>
ICONFACE_INLINE void map_elements(Context& ctx, float* out, int64_t n, Function f) {
  parallel_for(ctx.pool, (n + kElementsPerItem - 1) / kElementsPerItem, [&](int64_t item, int) {
    const int64_t end = std::min(n, (item + 1) * kElementsPerItem);
    for (int64_t i = item * kElementsPerItem; i < end; i += kLanes) store_some(out + i, f(i, end - i), end - i);
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
