// stream_copy: x read once, out written once. Streaming stores spare the read of out that an ordinary store of a line
// begins with, and are slower where everything fits in the caches.
#include "cpu/kernels.h"
#include "cpu/simd.h"

namespace iconface::cpu::ICONFACE_ISA {

namespace {

ICONFACE_INLINE void store_past_caches(float* p, F v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)v);
#else
  store(p, v);
#endif
}

}  // namespace

void stream_copy(Context& ctx, const op::StreamCopyArgs& a) {
  if (ctx.planning()) return;
  const float* x = a.x.as<float>();
  float* out = a.out.as<float>();
  const int64_t n = a.x.elements(), block = 1 << 16;
  parallel_for(ctx.pool, (n + block - 1) / block, [&](int64_t item, int) {
    const int64_t end = (item + 1) * block < n ? (item + 1) * block : n;
    int64_t i = item * block;
    if (a.streaming) {
      for (; i + kLanes <= end; i += kLanes) store_past_caches(out + i, load(x + i));
    } else {
      for (; i + kLanes <= end; i += kLanes) store(out + i, load(x + i));
    }
    for (; i < end; i++) out[i] = x[i];
#if defined(__x86_64__)
    if (a.streaming) _mm_sfence();
#endif
  });
}

}  // namespace iconface::cpu::ICONFACE_ISA
