// check_device: a GPU and the CPU compute the same small operations, and must agree, before the GPU is used.
#pragma once
#include "network/precision.h"
#include "runtime/device.h"
#include "runtime/thread_pool.h"

namespace iconface {

/// Runs matrix products, attention, norms and a convolution on tiny tensors, of the types that networks of this
/// precision use, on both. Takes milliseconds, and finds a driver, card or kernel that computes wrongly before a
/// user's picture does.
/// @throws DeviceUnavailable naming the operation and how far it is off, or the CUDA call that failed
void check_device(Device&, const Backend& cpu, ThreadPool&, Precision);

}  // namespace iconface
