// resize: pixels to another size, bilinear, as OpenCV does it to the bit for 8 bits.          model-specification.md 10
#pragma once
#include "photo/pixels.h"
#include "runtime/thread_pool.h"

namespace iconface::photo {

/// Both have the same colours and bits, and no alpha.
void resize(ThreadPool&, const Pixels& from, const Pixels& to);

}  // namespace iconface::photo
