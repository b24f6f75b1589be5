#include "photo/soft_mask.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace iconface::photo {

namespace {

/// Multiplications of the blur along columns beyond which the grid becomes coarser: about 10 ms on two threads.
constexpr int64_t kMostWork = int64_t{1} << 28;
/// A weight so near 1 is 1: sums of floats are not exact.
constexpr float kNearlyOne = 1 - 2e-6f;

int64_t round_to_even(double value) { return static_cast<int64_t>(std::nearbyint(value)); }

/// OpenCV's: small ones are binomial tables.
std::vector<float> gaussian(int64_t radius) {
  static const int kTables[4][5] = {{64, 128}, {16, 64, 96}, {8, 28, 56, 72}, {4, 13, 30, 51, 60}};
  const auto n = static_cast<size_t>(radius);
  std::vector<double> kernel(2 * n + 1);
  const double sigma = 0.3 * (static_cast<double>(radius) - 1) + 0.8;
  double sum = 0;
  for (size_t i = 0; i <= n; i++) {
    const auto away = static_cast<double>(n - i);
    kernel[i] = radius <= 4 ? kTables[n - 1][i] : std::exp(-away * away / (2 * sigma * sigma));
    kernel[2 * n - i] = kernel[i];
  }
  for (double v : kernel) sum += v;
  std::vector<float> scaled(kernel.size());
  for (size_t i = 0; i < kernel.size(); i++) scaled[i] = static_cast<float>(kernel[i] / sum);
  return scaled;
}

/// to[0..n) += the sum of rows[k] weights[k], four rows at a time: their partial sums stay in registers.
void add_rows(const float* const* rows, const float* weights, int64_t count, int64_t n, float* __restrict to) {
  int64_t k = 0;
  for (; k + 4 <= count; k += 4) {
    const float *a = rows[k], *b = rows[k + 1], *c = rows[k + 2], *d = rows[k + 3];
    const float p = weights[k], q = weights[k + 1], r = weights[k + 2], s = weights[k + 3];
    for (int64_t i = 0; i < n; i++) to[i] += (a[i] * p + b[i] * q) + (c[i] * r + d[i] * s);
  }
  for (; k < count; k++)
    for (int64_t i = 0; i < n; i++) to[i] += rows[k][i] * weights[k];
}

/// Weights of the cubic through four points one apart, t behind the second.
void cubic(float t, float* w) {
  w[0] = -t * (t - 1) * (t - 2) / 6;
  w[1] = (t + 1) * (t - 1) * (t - 2) / 2;
  w[2] = -(t + 1) * t * (t - 2) / 2;
  w[3] = (t + 1) * t * (t - 1) / 6;
}

/// First place from `from` on where two neighbours differ: row[i] != row[i - 1].
int64_t next_change(const uint16_t* row, int64_t from, int64_t count) {
  int64_t i = from;
  for (; i + 4 <= count; i += 4) {
    uint64_t here, before;
    memcpy(&here, row + i, 8);
    memcpy(&before, row + i - 1, 8);
    if (here != before) break;
  }
  while (i < count && row[i] == row[i - 1]) i++;
  return i;
}

}  // namespace

MaskSizes mask_sizes(ThreadPool& pool, const Coverage& coverage, double softness) {
  const Window thin = Window::of_side(std::max<int64_t>(1, round_to_even(2 * softness)));
  const double area = std::max(1.0, coverage.area(pool, thin));
  const double edge = std::max(1.0, std::floor(std::floor(std::sqrt(area)) / 20));
  const int64_t radius = std::max<int64_t>(1, round_to_even(2 * edge * softness));
  return {thin.and_then(Window::of_side(radius)), radius};
}

SoftMask::SoftMask(ThreadPool& pool, const Coverage& coverage, const MaskSizes& sizes, const Rectangle& part)
    : part_(part), radius_(sizes.radius), kernel_(gaussian(sizes.radius)) {
  const int64_t side = 2 * radius_ + 1;
  while ((part.width() / step_ + 4) * (part.height() / step_ + 4) * side > kMostWork) step_ *= 2;
  if (step_ == 1) {
    columns_ = part.width(), rows_ = part.height();
  } else {  // one before and two behind, for the cubics
    margin_ = 1, columns_ = (part.width() - 1) / step_ + 4, rows_ = (part.height() - 1) / step_ + 4;
  }
  phase_length_ = side / step_ + 1;
  sums_.resize(static_cast<size_t>(step_ * phase_length_));
  double sum = 0;
  for (int64_t i = 0; i < side; i++) {
    sum += static_cast<double>(kernel_[static_cast<size_t>(i)]);
    sums_[static_cast<size_t>(i % step_ * phase_length_ + i / step_)] = static_cast<float>(sum);
  }
  const Rectangle& bounds = coverage.bounds();
  across_ = Pages(bounds.height() * columns_ * static_cast<int64_t>(sizeof(float)));
  mask_ = Pages(rows_ * columns_ * static_cast<int64_t>(sizeof(float)));
  blur_rows(pool, coverage, sizes.window, coverage.width());
  blur_columns(pool, bounds, coverage.height());
}

void SoftMask::blur_rows(ThreadPool& pool, const Coverage& coverage, Window window, int64_t width) {
  const Rectangle& bounds = coverage.bounds();
  // All columns that the blur of the grid's columns reaches.
  const int64_t begin = part_.left - margin_ * step_ - radius_;
  const int64_t count = (columns_ - 1) * step_ + 2 * radius_ + 1, end = begin + count;
  const int64_t own = count * static_cast<int64_t>(sizeof(uint16_t)), per_worker = (own + 63) / 64 * 64;
  const int64_t whole = (columns_ + 1) * static_cast<int64_t>(sizeof(int32_t));
  const Pages scratch(pool.workers() * (per_worker + whole));
  parallel_for(pool, bounds.height(), [&](int64_t j, int worker) {
    char* const memory = scratch.data() + worker * (per_worker + whole);
    auto* const row = reinterpret_cast<uint16_t*>(memory);
    memset(row, 0, static_cast<size_t>(own));
    if (coverage.eroded(window, bounds.top + j, row + bounds.left - begin).empty()) return;
    const auto mirror = [&](int64_t x) {
      const int64_t of = mirrored(x, width);
      row[x - begin] = of >= bounds.left && of < bounds.right ? row[of - begin] : uint16_t{0};
    };
    for (int64_t x = begin; x < std::min<int64_t>(0, end); x++) mirror(x);
    for (int64_t x = std::max(width, begin); x < end; x++) mirror(x);
    blur_row(row, count, reinterpret_cast<float*>(across_.data()) + j * columns_,
             reinterpret_cast<int32_t*>(memory + per_worker));
  });
}

/// The row is a sum of steps. A step at place t, blurred, is the sum of the kernel's values up to x - t.
void SoftMask::blur_row(const uint16_t* eroded, int64_t count, float* out, int32_t* whole) const {
  std::fill(whole, whole + columns_ + 1, 0);  // columns from which on a step is whole
  for (int64_t t = 0; t < count; t = next_change(eroded, t + 1, count)) {
    const int32_t step = t == 0 ? eroded[0] : eroded[t] - eroded[t - 1];
    if (step == 0) continue;
    // The first column, and the first one behind the kernel: column i lies i * step_ + radius_ behind the row's begin.
    const int64_t from = t <= 2 * radius_ ? 0 : (t - 2 * radius_ + step_ - 1) / step_;
    const int64_t to = std::min(columns_, t / step_ + 1);
    whole[to] += step;
    const int64_t place = from * step_ + 2 * radius_ - t;
    const float* const sums = sums_.data() + place % step_ * phase_length_ + place / step_;
    const float size = static_cast<float>(step) / kWhole;
    for (int64_t i = from; i < to; i++) out[i] += size * sums[i - from];
  }
  int32_t sum = 0;
  for (int64_t i = 0; i < columns_; i++) out[i] += static_cast<float>(sum += whole[i]) / kWhole;
}

void SoftMask::blur_columns(ThreadPool& pool, const Rectangle& bounds, int64_t height) {
  const auto* const across = reinterpret_cast<const float*>(across_.data());
  auto* const mask = reinterpret_cast<float*>(mask_.data());
  const int64_t side = 2 * radius_ + 1;
  const int64_t per_worker = (side * static_cast<int64_t>(sizeof(float*) + sizeof(float)) + 63) / 64 * 64;
  const Pages scratch(pool.workers() * per_worker);
  parallel_for(pool, rows_, [&](int64_t k, int worker) {
    auto* const rows = reinterpret_cast<const float**>(scratch.data() + worker * per_worker);
    auto* const weights = reinterpret_cast<float*>(rows + side);
    const int64_t first = part_.top + (k - margin_) * step_ - radius_;
    int64_t count = 0;
    for (int64_t i = 0; i < side; i++) {
      const int64_t y = mirrored(first + i, height);
      if (y < bounds.top || y >= bounds.bottom) continue;
      rows[count] = across + (y - bounds.top) * columns_;
      weights[count++] = kernel_[static_cast<size_t>(i)];
    }
    add_rows(rows, weights, count, columns_, mask + k * columns_);
  });
}

void SoftMask::row(int64_t y, float* scratch, float* out) const {
  const auto* const mask = reinterpret_cast<const float*>(mask_.data());
  const int64_t at = y - part_.top, width = part_.width();
  const auto clipped = [](float v) { return v < 0 ? 0 : v > kNearlyOne ? 1 : v; };
  if (step_ == 1) {
    for (int64_t x = 0; x < width; x++) out[x] = clipped(mask[at * columns_ + x]);
    return;
  }
  const float *const first = mask + at / step_ * columns_, *const second = first + columns_;
  const float *const third = second + columns_, *const fourth = third + columns_;
  const auto part = 1 / static_cast<float>(step_);
  float w[4];
  cubic(static_cast<float>(at % step_) * part, w);
  for (int64_t i = 0; i < columns_; i++)
    scratch[i] = first[i] * w[0] + second[i] * w[1] + third[i] * w[2] + fourth[i] * w[3];
  for (int64_t phase = 0; phase < step_; phase++) {
    cubic(static_cast<float>(phase) * part, w);
    const float* s = scratch;
    for (int64_t x = phase; x < width; x += step_, s++)
      out[x] = clipped(s[0] * w[0] + s[1] * w[1] + s[2] * w[2] + s[3] * w[3]);
  }
}

}  // namespace iconface::photo
