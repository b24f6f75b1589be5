// SoftMask: how much of a restored crop shows in each pixel of a photograph.                  model-specification.md 10
#pragma once
#include <cstdint>
#include <vector>

#include "photo/coverage.h"
#include "runtime/memory.h"
#include "runtime/thread_pool.h"

namespace iconface::photo {

/// The sizes that a softness gives.
struct MaskSizes {
  Window window;   // of all erosion
  int64_t radius;  // of the blur
};
/// @param softness  at least 0.5
MaskSizes mask_sizes(ThreadPool&, const Coverage&, double softness);

/// The coverage eroded, then blurred by a Gaussian whose borders mirror.
///
/// The eroded coverage is ones almost everywhere within, so a row's blur is a sum over the few places where it changes.
/// Then columns are blurred value by value. Where that would be too much work, on every n-th pixel along both axes
/// alone; the others are interpolated by cubics, which errs by less than 1e-4. Memory: a fraction of the photograph's.
class SoftMask {
 public:
  /// @param part  the pixels that row() is asked for; must hold the coverage's bounds
  SoftMask(ThreadPool& pool, const Coverage& coverage, const MaskSizes& sizes, const Rectangle& part);

  /// Floats of scratch memory that row() needs.
  int64_t scratch() const { return columns_; }
  /// Row y of the photograph, for the columns of `part`: 0 to 1.
  void row(int64_t y, float* scratch, float* out) const;

 private:
  void blur_rows(ThreadPool& pool, const Coverage& coverage, Window window, int64_t width);
  void blur_columns(ThreadPool& pool, const Rectangle& bounds, int64_t height);
  void blur_row(const uint16_t* eroded, int64_t count, float* out, int32_t* whole) const;

  Rectangle part_;
  int64_t radius_;
  std::vector<float> kernel_;  // [2 radius + 1]
  int64_t step_ = 1;           // the mask is computed on every step-th pixel
  int64_t margin_ = 0;         // grid rows and columns before the part's first one
  int64_t rows_ = 0, columns_ = 0;
  int64_t phase_length_ = 0;
  std::vector<float> sums_;  // [step, phase_length]: of the kernel's first values, every step-th of them together
  Pages across_, mask_;      // [bounds' rows, columns], [rows, columns] F32
};

}  // namespace iconface::photo
