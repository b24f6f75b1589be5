#include "network/face_template.h"

#include "base/error.h"

namespace iconface {

namespace {
constexpr double kTemplate[6] = {0.29209004878085754,    4.450798369352841e-05, -18.93014554381962,
                                 -4.450798369352766e-05, 0.29209004878085754,   -17.86001946740319};
constexpr double kRatio = 112.0 / 512, kShift = 0.5 * kRatio - 0.5;  // pixel centres at integers in both
constexpr double kResize[6] = {kRatio, 0, kShift, 0, kRatio, kShift};
}  // namespace

void face_crop_matrix(const std::string& mode, int64_t size, double matrix[6]) {
  if (mode != "template" && mode != "resize")
    fail(Code::Unsupported, "identity.crop '%s' is not available; 'template' and 'resize' are", mode.c_str());
  const double* of_512 = mode == "template" ? kTemplate : kResize;
  const double scale = 512.0 / static_cast<double>(size),
               centre = 0.5 * scale - 0.5;  // `size` px to 512 px coordinates
  for (int row = 0; row < 6; row += 3) {
    matrix[row] = of_512[row] * scale;
    matrix[row + 1] = of_512[row + 1] * scale;
    matrix[row + 2] = of_512[row + 2] + (of_512[row] + of_512[row + 1]) * centre;
  }
}

}  // namespace iconface
