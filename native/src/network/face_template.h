// face_crop_matrix: where the face encoder's 112 px face lies in an aligned picture.           model-specification.md 7
#pragma once
#include <cstdint>
#include <string>

namespace iconface {

/// The similarity image -> crop (2x3, row-major, pixel centres at integers) that cuts the encoder's 112 px face out
/// of an aligned crop of `size` px. Mode "template": least squares between the 512 px FFHQ template and AdaFace's own
/// 112 px one; "resize": the whole crop. Throws Unsupported for any other.
void face_crop_matrix(const std::string& mode, int64_t size, double matrix[6]);

}  // namespace iconface
