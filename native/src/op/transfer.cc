#include "op/transfer.h"

#include <cstring>

#include "runtime/device.h"

namespace iconface::op {

namespace {
Tensor of_shape(void* data, const Tensor& t) { return Tensor::of(data, t.dtype, t.shape, t.rank); }
}  // namespace

Tensor device_tensor(Context& ctx, const Tensor& host) {
  return ctx.device == nullptr ? host : of_shape(ctx.workspace.bytes(host.bytes()), host);
}

Tensor upload(Context& ctx, const Tensor& host) {
  const Tensor t = device_tensor(ctx, host);
  if (ctx.device != nullptr && !ctx.planning()) ctx.device->upload(t.data, host.data, host.bytes());
  return t;
}

void upload_into(Context& ctx, const Tensor& host, const Tensor& to) {
  if (ctx.planning() || host.data == to.data) return;
  if (ctx.device == nullptr)
    memcpy(to.data, host.data, static_cast<size_t>(host.bytes()));
  else
    ctx.device->upload(to.data, host.data, host.bytes());
}

void download(Context& ctx, const Tensor& from, const Tensor& to) {
  if (ctx.planning() || from.data == to.data) return;
  const bool whole = from.contiguous();
  const int64_t rows = whole ? 1 : from.rows(), bytes = whole ? from.bytes() : from.last() * dtype_bytes(from.dtype);
  for (int64_t r = 0; r < rows; r++) {
    const char* source = whole ? from.as<char>() : from.row_address(r);
    if (ctx.device == nullptr)
      memcpy(to.as<char>() + r * bytes, source, static_cast<size_t>(bytes));
    else
      ctx.device->download(to.as<char>() + r * bytes, source, bytes);
  }
}

}  // namespace iconface::op
