// check_device: a GPU answers a few small questions whose answers the processor knows, before it is trusted with a face.
#pragma once
#include "network/precision.h"
#include "runtime/device.h"
#include "runtime/thread_pool.h"

namespace iconface {

/// Runs matrix products, attention, norms and a convolution of the kinds and types that networks of this precision use,
/// on tiny tensors, on both; some milliseconds. A driver, card or kernel that computes wrongly is found here, not in somebody's picture.
/// @throws DeviceUnavailable naming the operation and how far it is off, or the CUDA call that failed
void check_device(Device&, const Backend& processor, ThreadPool&, Precision);

}  // namespace iconface
