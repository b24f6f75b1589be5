// embedding: rows of a table, by index: how text enters a network.                             model-specification.md 7
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// out[i] = table[ids[i]], converted to out's type.
struct EmbeddingArgs {
  Tensor ids;    // [tokens] I32, each from 0 to V - 1
  Tensor table;  // [V, D] F32, BF16 or F16
  Tensor out;    // [tokens, D] F32 or BF16
};
/// @throws InvalidArgument for an id outside the table, with its place.
void embedding(Context&, const EmbeddingArgs&);

}  // namespace iconface::op
