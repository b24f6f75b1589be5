#include "model/device_check.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/error.h"
#include "op/attention.h"
#include "op/backend.h"
#include "op/conv2d.h"
#include "op/convert.h"
#include "op/group_norm_silu.h"
#include "op/layer_norm_modulate.h"
#include "op/linear.h"
#include "op/quantise_rows.h"
#include "op/transfer.h"
#include "runtime/planning.h"

namespace iconface {

namespace {

/// Bound of the relative error. Products of bf16 stay well below it at these sizes, and a wrong kernel does not.
constexpr double kLimit = 0.02;

struct Shape {
  DType dtype;
  std::vector<int64_t> size;
  Tensor at(void* data) const { return Tensor::of(data, dtype, size.data(), static_cast<int>(size.size())); }
};
struct Case {
  const char* name;
  std::vector<Shape> inputs;
  Shape output;
  std::function<void(Context&, const std::vector<Tensor>&, const Tensor& out)> compute;
};

using Inputs = std::vector<Tensor>;
constexpr DType F32 = DType::F32, BF16 = DType::BF16;

/// Sizes that are no multiple of the kernels' tiles.
std::vector<Case> cases() {
  return {
      {"linear",
       {{BF16, {1, 200, 136}}, {BF16, {144, 136}}},
       {F32, {1, 200, 144}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::linear(ctx, {.x = in[0], .weight = in[1], .out = out});
       }},
      {"linear (f32)",
       {{F32, {1, 40, 72}}, {F32, {56, 72}}},
       {F32, {1, 40, 56}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::linear(ctx, {.x = in[0], .weight = in[1], .out = out});
       }},
      {"linear (one row)",
       {{F32, {1, 1, 128}}, {BF16, {64, 128}}},
       {F32, {1, 1, 64}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::linear(ctx, {.x = in[0], .weight = in[1], .out = out});
       }},
      {"attention",
       {{BF16, {150, 2, 128}}, {BF16, {150, 2, 128}}, {BF16, {150, 2, 128}}},
       {F32, {150, 2, 128}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::AttentionArgs a;
         a.segments = 1;
         a.segment[0] = {.q = in[0], .out = out, .k = in[1], .v = in[2]};
         op::attention(ctx, a);
       }},
      {"layer_norm_modulate",
       {{F32, {1, 9, 136}}},
       {F32, {1, 9, 136}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::layer_norm_modulate(ctx, {.x = in[0], .out = out});
       }},
      {"conv2d",
       {{F32, {1, 12, 12, 24}}, {BF16, {40, 3, 3, 24}}},
       {F32, {1, 12, 12, 40}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::conv2d(ctx, {.x = in[0],
                          .weight = in[1],
                          .out = out,
                          .pad_top = 1,
                          .pad_left = 1,
                          .pad_bottom = 1,
                          .pad_right = 1,
                          .compute = BF16});
       }},
      {"group_norm_silu",
       {{F32, {1, 10, 10, 24}}, {F32, {24}}, {F32, {24}}},
       {F32, {1, 10, 10, 24}},
       [](Context& ctx, const Inputs& in, const Tensor& out) {
         op::group_norm_silu(ctx, {.x = in[0], .out = out, .weight = in[1], .bias = in[2], .groups = 4});
       }},
  };
}

Case e4m3_case() {
  const auto compute = [](Context& ctx, const Inputs& in, const Tensor& out) {
    const Tensor x = ctx.workspace.tensor(DType::F8E4M3, {1, 200, 144}),
                 w = ctx.workspace.tensor(DType::F8E4M3, {144, 144});
    const Tensor x_scale = ctx.workspace.tensor(F32, {1, 200, 1}), w_scale = ctx.workspace.tensor(F32, {144, 1});
    op::layer_norm_modulate(ctx, {.x = in[0], .out = x, .out_scale = x_scale});
    op::quantise_rows(ctx, {.x = in[1], .out = w, .scale = w_scale});
    op::linear(ctx, {.x = x, .weight = w, .out = out, .x_scale = x_scale, .weight_scale = w_scale});
  };
  return {"linear (e4m3)", {{F32, {1, 200, 144}}, {F32, {144, 144}}}, {F32, {1, 200, 144}}, compute};
}

/// Numbers around 0 that bf16 represents exactly; the same in every run.
void fill(const Tensor& t, uint32_t seed) {
  uint32_t state = seed * 2654435761u + 1;
  for (int64_t i = 0; i < t.elements(); i++) {
    state = state * 1664525u + 1013904223u;
    const float value = (static_cast<float>(state >> 24) - 127.5f) / 128.0f;
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (t.dtype == F32)
      t.as<float>()[i] = value;
    else
      t.as<uint16_t>()[i] = static_cast<uint16_t>(bits >> 16);
  }
}

/// The output of a case on a device, or on the CPU where `device` is null.
std::vector<float> compute(const Case& c, const Inputs& inputs, Device* device, const Backend& backend,
                           ThreadPool& pool) {
  std::vector<float> result(static_cast<size_t>(c.output.at(nullptr).elements()));
  const Tensor host = c.output.at(result.data());
  const auto run = [&](Context& ctx) {
    Inputs there;
    for (const Tensor& t : inputs) there.push_back(op::upload(ctx, t));
    const Tensor out = op::device_tensor(ctx, host);
    c.compute(ctx, there, out);
    op::download(ctx, out, host);
  };
  Workspace none;
  plan_then_run(Context{backend, pool, none, device}, run);
  if (device != nullptr) device->synchronize();
  return result;
}

double relative_error(const std::vector<float>& a, const std::vector<float>& expected) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); i++) {
    difference += (static_cast<double>(a[i]) - expected[i]) * (static_cast<double>(a[i]) - expected[i]);
    size += static_cast<double>(expected[i]) * expected[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace

void check_device(Device& device, const Backend& cpu, ThreadPool& pool, Precision precision) {
  std::vector<Case> all = cases();
  if (precision == Precision::FP8 && device.has_e4m3()) all.push_back(e4m3_case());
  for (const Case& c : all) {
    std::vector<Pages> memory;
    Inputs inputs;
    for (const Shape& s : c.inputs) {
      memory.emplace_back(s.at(nullptr).bytes());
      inputs.push_back(s.at(memory.back().data()));
      fill(inputs.back(), static_cast<uint32_t>(memory.size()));
    }
    std::vector<float> here;
    try {
      here = compute(c, inputs, &device, device.backend, pool);
    } catch (const Error& e) {
      if (e.code != Code::Cuda) throw;
      fail(Code::DeviceUnavailable, "%s (%s) failed its first test, %s: %s", device.name.c_str(),
           device.description.c_str(), c.name, e.what());
    }
    const double error = relative_error(here, compute(c, inputs, nullptr, cpu, pool));
    if (!(error < kLimit))
      fail(Code::DeviceUnavailable,
           "%s (%s) computes %s wrongly (relative error %.2g): update the driver, or use device 'cpu'",
           device.name.c_str(), device.description.c_str(), c.name, error);
  }
}

}  // namespace iconface
