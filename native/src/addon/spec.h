// spec_from_js: the checkpoint that lib/checkpoint/layout.ts describes, as the core takes it.
#pragma once
#include <napi.h>

#include "network/weights.h"

namespace iconface::addon {

/// Throws InvalidArgument for anything else. Byte ranges are checked when the files are mapped (Weights).
CheckpointSpec spec_from_js(const Napi::Object& spec);

}  // namespace iconface::addon
