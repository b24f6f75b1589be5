// Weights: the tensors of a checkpoint by canonical name, mapped from their files or copied to the device at first
// use, and the tensors derived from them.
#pragma once
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "runtime/context.h"

namespace iconface {

/// What TypeScript found in the files' headers and in iconface.json (lib/checkpoint/layout.ts).
struct CheckpointSpec {
  struct File {
    std::string path;
    int64_t size = 0;
  };
  struct Range {
    size_t file = 0;
    int64_t offset = 0, bytes = 0;
  };
  struct Entry {
    DType dtype = DType::F32;
    std::vector<int64_t> shape;
    std::vector<Range> parts;  // one: mapped from the file; several: joined in memory, one after the other
  };
  struct Lora {
    std::string module;  // "double_blocks.0.img_attn.qkv"
    std::string a, b;    // names of its tensors [r, in], [n, r]
    double factor = 1;   // strength * alpha / r
    int64_t row = 0;     // first of the n rows of the matrix that it changes
  };
  std::vector<File> files;
  std::map<std::string, Entry> tensors;
  std::vector<Lora> loras;
  std::map<std::string, std::vector<double>> numbers;  // "transformer.ropeAxes" -> [32, 32, 32, 32]
  std::map<std::string, std::string> texts;            // "identity.crop" -> "template"

  double number(const std::string& name, double otherwise) const;
};

/// A matrix for op::linear: as it is stored, or quantised to e4m3 with a scale for every row.
struct Matrix {
  Tensor weight;      // [N, K]
  Tensor scale = {};  // [N, 1] F32, where the matrix is e4m3

  Matrix rows(int64_t begin, int64_t end) const {
    return {weight.slice(0, begin, end), scale.defined() ? scale.slice(0, begin, end) : Tensor{}};
  }
};

class Weights {
 public:
  /// Maps the files and checks every byte range, shape and size again.
  Weights(const CheckpointSpec& spec, Device* device);

  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  /// A tensor for operations, as it lies in the file; the first call brings it to the device. Throws
  /// InvalidCheckpoint when it is absent, its type holds no weights or its shape is another. -1 accepts any size.
  Tensor get(const std::string& name, std::initializer_list<int64_t> shape);
  Tensor get(const std::string& name);
  /// A tensor that is on the device already, as all prompts are. From any thread.
  Tensor loaded(const std::string& name, std::initializer_list<int64_t> shape) const;
  /// The numbers of a small tensor on the host, as f32.
  std::vector<float> values(const std::string& name, std::initializer_list<int64_t> shape) const;
  /// Frees the memory of a tensor that was only needed to derive another: the device's copy, or what replaced it.
  void release(const std::string& name);
  /// A matrix. With `e4m3`, the first call quantises it row by row and frees the original's copy.
  Matrix matrix(Context&, const std::string& name, std::initializer_list<int64_t> shape, bool e4m3);
  /// A tensor as F32: the mapped one if it is F32, else a converted copy. For small tensors.
  Tensor f32(Context&, const std::string& name, std::initializer_list<int64_t> shape);

  /// An F32 copy times `factor`. For small tensors.
  Tensor scaled(Context&, const std::string& name, std::initializer_list<int64_t> shape, float factor);
  /// Numbers made on the host, as a tensor for operations.
  Tensor keep(Context&, const std::vector<float>& values, std::initializer_list<int64_t> shape);

  /// Memory that lives as long as the weights.
  Tensor allocate(DType dtype, std::initializer_list<int64_t> shape);
  Tensor allocate_like(DType dtype, const Tensor& shape);
  /// From now on `name` means this tensor (a merged matrix).
  void replace(const std::string& name, const Tensor& tensor);

  /// For networks that read their weights once, in order, and are larger than what may be resident: `expect` has a
  /// mapped tensor fetched, `forget` lets its pages go (MappedFile). Nothing happens to tensors in memory of our own.
  void expect(const Tensor&) const;
  void forget(const Tensor&) const;

  int64_t mapped_bytes() const;
  int64_t private_bytes() const { return private_bytes_; }
  /// What lies on the device; private_bytes() are not on it then.
  int64_t device_bytes() const;
  void check_unchanged() const;

 private:
  Tensor place(const std::string& name, const CheckpointSpec::Entry&);
  /// The tensor in the process's memory, as the checkpoint holds it.
  const Tensor& stored(const std::string& name) const;
  static void check_shape(const std::string& name, const Tensor&, std::initializer_list<int64_t> shape);

  Device* device_;
  std::vector<MappedFile> files_;
  std::map<std::string, Tensor> tensors_;  // on the host; replaced ones where operations read them
  std::map<std::string, Pages> uploaded_;  // the device's copies of tensors on the host
  std::set<std::string> replaced_;
  std::map<std::string, Matrix> quantised_;
  std::deque<Pages> joined_;  // on the host: tensors whose parts lie apart
  std::deque<Pages> memory_;  // where operations read: derived tensors
  int64_t private_bytes_ = 0;
};

/// W[row..row+n] += factor * B A for every LoRA, in f32, stored in `dtype`. model-specification.md 3
void merge_loras(Context&, Weights&, const std::vector<CheckpointSpec::Lora>&, DType dtype);

}  // namespace iconface
