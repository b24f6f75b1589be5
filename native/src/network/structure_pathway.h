// StructurePathway, of the degraded picture: residual (Eq. 6), memory of two routes (Eq. 7) and the low-rank
// cross-attention that reads it.                                                               model-specification.md 5
#pragma once
#include <vector>

#include "network/weights.h"

namespace iconface {

/// The key/value side of every block, constant for a whole restore; empty when the checkpoint has no memory.
struct StructureMemory {
  struct Block {
    Tensor keys;    // [H, M, r]
    Tensor values;  // [M, r]
  };
  std::vector<Block> blocks;
  bool empty() const { return blocks.empty(); }
};

struct TokenGrid {
  int64_t rows = 0, columns = 0;
  int64_t tokens() const { return rows * columns; }
};

class StructurePathway {
 public:
  /// Parts whose tensors the checkpoint lacks are off: no adapter at all gives an empty pathway.
  StructurePathway(Context&, Weights&, const CheckpointSpec&, int64_t hidden, int64_t heads, int64_t blocks,
                   DType compute);

  bool has_residual() const { return residual_down_.defined(); }
  bool has_memory() const { return base_.queries.defined(); }
  int64_t memory_tokens(bool detail) const;

  /// Eq. 6: out [scene, D] = strength * up(down(resize(x_deg))).
  void residual(Context&, const Tensor& x_deg, TokenGrid degraded, TokenGrid scene, const Tensor& out) const;
  /// Eq. 7: M [memory_tokens, D] F32 = LN([M_base; M_detail]); without `detail` the base route alone (1-Route).
  void memory(Context&, const Tensor& x_deg, TokenGrid degraded, bool detail, const Tensor& out) const;
  /// Allocates in the workspace and computes the key/value side of every block.
  StructureMemory blocks(Context&, const Tensor& memory) const;
  /// h += gate * Attn(q(LN(h)), k(M), v(M)) for block i on image tokens h [batch, tokens, D].
  void attend(Context&, int64_t block, const StructureMemory&, const Tensor& h) const;

 private:
  struct Route {
    Tensor queries;  // [N, H, d] in the compute type
    Tensor key, value;
  };
  struct Block {
    Tensor query_down, query_up, key_down, key_up, value_down, value_up;
    float gate = 0;
  };
  void pool(Context&, const Route&, const Tensor& x, const Tensor& out) const;

  int64_t hidden_, heads_;
  DType compute_;
  Tensor residual_down_, residual_up_;  // up carries the strength
  Route base_, detail_;
  std::vector<Block> blocks_;
};

}  // namespace iconface
