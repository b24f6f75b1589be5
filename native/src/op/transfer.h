// Between the process's memory and a device's. On the CPU both are one, and nothing is copied.
#pragma once
#include "runtime/context.h"

namespace iconface::op {

/// `host` (contiguous) where operations can read it: itself on the CPU, else a copy in the workspace. While
/// planning `host` is not read.
Tensor upload(Context&, const Tensor& host);
/// Where operations may write what `download` is to bring to `host`: `host` itself on the CPU, else workspace
/// memory.
Tensor device_tensor(Context&, const Tensor& host);
/// to (contiguous, host memory) = from, whose rows may be strided; waits for the work that makes it. Nothing when they
/// are one.
void download(Context&, const Tensor& from, const Tensor& to);
/// to = host bytes, into memory of the device that exists already (a weight that was made on the host).
void upload_into(Context&, const Tensor& host, const Tensor& to);

}  // namespace iconface::op
