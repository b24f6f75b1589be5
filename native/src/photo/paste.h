// Paste: a restored crop, back into the photograph it was cut from.                           model-specification.md 10
#pragma once
#include <cstdint>
#include <optional>

#include "photo/coverage.h"
#include "photo/pixels.h"
#include "photo/soft_mask.h"
#include "runtime/memory.h"

namespace iconface::photo {

/// What is mixed in where the mask reaches beyond the crop: the photograph itself, or black as the published workflow
/// does it, which darkens a frame around the crop.
enum class Beyond { Photograph, Black };

class Paste {
 public:
  /// Computes the mask; the photograph is not touched. Throws Aborted when the pool's observer says so.
  /// @param matrix    2x3, row-major: pixel of the photograph -> pixel of the crop
  /// @param side      of the crop
  /// @param restored  square, of any size; colours and bits are the photograph's, and there is no alpha
  /// @param softness  0.25 to 4; below 0.5 it is 0.5
  /// @param part      must hold all pixels that the crop can touch; throws InvalidArgument otherwise
  Paste(ThreadPool& pool, const Pixels& photo, const Pixels& restored, const double matrix[6], int64_t side,
        double softness, Beyond beyond, const Rectangle& part);
  /// Writes into the photograph. Not to be stopped half way: the pool should have no observer.
  /// @param mask    receives how much of the restored crop each pixel of `part` got, in parts of 255 (U8), or of 1
  /// @param floats  whether it is F32
  void write(ThreadPool& pool, void* mask, bool floats);

 private:
  template <class T, int kColours>
  void write_row(int64_t y, const float* weights, float* shares) const;

  Pixels photo_, restored_;
  int64_t side_;
  Beyond beyond_;
  Rectangle part_;
  Pages resized_;
  Coverage coverage_;
  std::optional<SoftMask> mask_;  // none where the crop touches nothing
};

}  // namespace iconface::photo
