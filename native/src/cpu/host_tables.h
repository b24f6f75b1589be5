// Small tables, in double and with the C library: compiled once, so that all instruction sets get the same bits.
#pragma once
#include "op/flow.h"
#include "op/identity_anchor.h"
#include "op/normalize.h"

namespace iconface::cpu {

void rope_table(Context&, const op::RopeTableArgs&);
void timestep_embedding(Context&, const op::TimestepEmbeddingArgs&);
void random_normal(Context&, const op::RandomNormalArgs&);
void identity_anchor(Context&, const op::IdentityAnchorArgs&);

}  // namespace iconface::cpu
