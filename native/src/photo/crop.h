// crop: cuts a face out of a photograph.                                                      model-specification.md 10
#pragma once
#include "photo/pixels.h"
#include "runtime/thread_pool.h"

namespace iconface::photo {

enum class Border { Constant, Reflect, Reflect101 };

/// out(x, y) = photo(matrix (x, y)): bilinear at 1/32 of a pixel. Where a pixel of the crop covers more than 2 x 2 of
/// the photograph, it is the mean of n x n such values inside it, n the whole part of how many it covers along a side.
/// Alpha is left out. Throws Aborted when the pool's observer says so.
/// @param matrix  2x3, row-major: pixel of the crop -> pixel of the photograph
/// @param out     as many colours and bits as the photograph's
void crop(ThreadPool&, const Pixels& photo, const double matrix[6], Border border, const Pixels& out);

}  // namespace iconface::photo
