// What lib/checkpoint/layout.ts found, as the core takes it.
#pragma once
#include <napi.h>

#include "network/weights.h"

namespace iconface::addon {

/// Throws InvalidArgument for anything that is not a CheckpointSpec; ranges are checked again when files are mapped.
CheckpointSpec spec_from_js(const Napi::Object& spec);

}  // namespace iconface::addon
