#include "photo/paste.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "photo/resize.h"

namespace iconface::photo {

namespace {

constexpr double kLeastSoftness = 0.5;

/// To the nearest whole number, halves to even; 0 <= value < 2^22. (The library's function is a call without SSE4.1.)
int32_t rounded(float value) {
  const float biased = value + 0x1.8p23f;
  int32_t bits;
  memcpy(&bits, &biased, sizeof bits);
  return bits - 0x4b400000;
}

}  // namespace

Paste::Paste(ThreadPool& pool, const Pixels& photo, const Pixels& restored, const double matrix[6], int64_t side,
             double softness, Beyond beyond, const Rectangle& part)
    : photo_(photo),
      restored_(restored),
      side_(side),
      beyond_(beyond),
      part_(part),
      coverage_(matrix, side, photo.width, photo.height) {
  const Rectangle& bounds = coverage_.bounds();
  if (!part.holds(bounds))
    fail(Code::InvalidArgument, "the mask must hold columns %lld to %lld of rows %lld to %lld, which the crop touches",
         static_cast<long long>(bounds.left), static_cast<long long>(bounds.right - 1),
         static_cast<long long>(bounds.top), static_cast<long long>(bounds.bottom - 1));
  if (bounds.empty() || part.empty()) return;
  if (restored.width != side) {
    const int64_t bytes = side * side * restored.channels * (restored.wide ? 2 : 1);
    resized_ = Pages(bytes);
    restored_ = {resized_.data(), side, side, restored.channels, restored.wide};
    resize(pool, restored, restored_);
  }
  const MaskSizes sizes = mask_sizes(pool, coverage_, std::max(softness, kLeastSoftness));
  mask_.emplace(pool, coverage_, sizes, part);
}

/// Replaces each weight by the share of the restored crop in its pixel, which is less at the crop's edge.
template <class T, int kColours>
void Paste::write_row(int64_t y, const float* weights, float* shares) const {
  const Positions::Row row = coverage_.positions().row(y);
  const T* const restored = static_cast<const T*>(restored_.data);
  T* const pixels = static_cast<T*>(photo_.data) + y * photo_.width * photo_.channels;
  const auto last = static_cast<uint64_t>(side_ - 1);
  static constexpr T kBlack[3] = {};
  for (int64_t x = part_.left; x < part_.right; x++) {
    const float weight = weights[x - part_.left];
    float& share = shares[x - part_.left];
    share = weight;
    if (weight == 0) continue;
    const int64_t u = row.x(x), v = row.y(x), column = u >> 5, line = v >> 5;
    const auto part_u = static_cast<uint32_t>(u & 31), part_v = static_cast<uint32_t>(v & 31);
    T* const pixel = pixels + x * photo_.channels;
    uint32_t value[3];
    if (static_cast<uint64_t>(column) < last && static_cast<uint64_t>(line) < last) {
      between<kColours>(restored + (line * side_ + column) * kColours, kColours, side_ * kColours, part_u, part_v,
                        value);
    } else {
      const auto covered = static_cast<float>(coverage_.weight(u) * coverage_.weight(v)) / kWhole;
      if (beyond_ == Beyond::Photograph) share = weight * covered;
      if (share == 0) continue;
      between_any<kColours>(column, line, part_u, part_v, value, [&](int64_t i, int64_t j) {
        const bool there = i >= 0 && j >= 0 && i < side_ && j < side_;
        return there ? restored + (j * side_ + i) * kColours : kBlack;
      });
    }
    if (weight == 1 && share == 1) {
      for (int c = 0; c < kColours; c++) pixel[c] = static_cast<T>(value[c]);
      continue;
    }
    for (int c = 0; c < kColours; c++) {
      const float mixed = weight * static_cast<float>(value[c]) + (1 - share) * static_cast<float>(pixel[c]);
      pixel[c] = static_cast<T>(std::min<int32_t>(rounded(mixed), static_cast<T>(-1)));
    }
  }
}

void Paste::write(ThreadPool& pool, void* mask, bool floats) {
  if (!mask_) return;
  const int64_t width = part_.width(), per_worker = 2 * width + mask_->scratch();
  const Pages scratch(pool.workers() * per_worker * static_cast<int64_t>(sizeof(float)));
  with_type(photo_, [&](auto type, auto colours) {
    parallel_for(pool, part_.height(), [&](int64_t i, int worker) {
      float* const weights = reinterpret_cast<float*>(scratch.data()) + worker * per_worker;
      float* const shares = weights + width;
      mask_->row(part_.top + i, shares + width, weights);
      write_row<decltype(type), colours.value>(part_.top + i, weights, shares);
      if (floats) {
        std::copy(shares, shares + width, static_cast<float*>(mask) + i * width);
      } else {
        auto* const bytes = static_cast<uint8_t*>(mask) + i * width;
        for (int64_t x = 0; x < width; x++) bytes[x] = static_cast<uint8_t>(rounded(shares[x] * 255));
      }
    });
  });
}

}  // namespace iconface::photo
