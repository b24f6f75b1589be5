// restore: a degraded picture and its references to a restored face. Calls every section of model-specification.md 2
// to 7: find_anchor (Eq. 3 and 4), IdentityPathway (Eq. 5), StructurePathway (Eq. 6 and 7), sample (Eq. 1).
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/model.h"
#include "network/conditioning.h"
#include "op/random_normal.h"

namespace iconface {

struct RestoreRequest {
  std::vector<Tensor> pictures;  // [height, width, 3 or 4] U8: the degraded one, then the references
  int64_t size = 512;            // multiple of the autoencoder's reduction
  int steps = 12;
  double guidance = 4;
  uint64_t seed = 42;
  op::Generator generator = op::Generator::TorchCuda;
  Variant variant;
  Tensor prompt = {};  // [text, context] F32 or BF16, instead of the checkpoint's own
  Tensor noise = {};   // [channels, rows, columns] F32, instead of that of the seed; for tests
  Tensor out;          // [size, size, 3] U8
  /// Called on the job's thread when a stage begins (step 0) and after each of its steps: pictures encoded, sampler
  /// steps.
  std::function<void(const char* stage, int step, int steps)> progress;
};

struct RestoreResult {
  std::string identity_source = "none";  // "references", "degraded", "none"
  std::vector<float> anchor;             // [512], or empty
  std::vector<float> norms, weights;     // per reference
  std::vector<float> embeddings;  // raw, [pictures, 512], of the degraded one first; empty without a face encoder
  bool compared = false;          // `before` and `after` are set
  double before = 0, after = 0;   // cosine similarity to the references' anchor
  std::vector<std::pair<std::string, double>> milliseconds;  // per stage, in order
};

/// Called twice: in a planning context, then for real (runtime/planning.h).
/// @throws InvalidArgument, InvalidCheckpoint (a part is missing), Aborted, Numerical (with the step)
void restore(Context&, const Model&, const RestoreRequest&, RestoreResult*);

/// Raw face embedding of one picture, prepared as a restore of `size` prepares it: [512] F32.
void embed_face(Context&, const Model&, const Tensor& picture, int64_t size, const Tensor& embedding);

}  // namespace iconface
