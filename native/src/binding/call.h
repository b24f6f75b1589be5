// Call: one operation or network run by itself from JavaScript (lib/ops/context.ts, lib/networks/networks.ts).
// It knows nothing of Node-API.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/stopwatch.h"
#include "runtime/context.h"
#include "runtime/device.h"

namespace iconface {
class Model;
}

namespace iconface::binding {

class Call {
 public:
  // Filled in by the addon.
  std::map<std::string, Tensor> inputs;
  std::map<std::string, std::vector<double>> number_lists;
  std::map<std::string, std::string> texts;
  Model* model = nullptr;    // networks only
  Device* device = nullptr;  // where inputs lie and results are to be; null: the CPU

  Tensor input(const char* name) const;     // throws InvalidArgument when absent
  Tensor optional(const char* name) const;  // undefined when absent
  double number(const char* name) const;    // throws when absent
  double number(const char* name, double otherwise) const;
  int64_t size(const char* name) const;  // a whole number of 1 or more
  int64_t size(const char* name, int64_t otherwise) const;
  int whole(const char* name, double otherwise) const;  // any whole number that fits an int
  bool flag(const char* name) const { return number(name, 0) != 0; }
  std::vector<double> numbers(const char* name) const;  // empty when absent
  std::string text(const char* name, const char* otherwise) const;
  /// The dtype named by a text parameter ("f32" or "bf16").
  DType dtype(const char* name, DType otherwise) const;
  /// A feature map [B, H, W, C]; throws InvalidArgument for another rank.
  Tensor map(const char* kind, const char* name) const;
  /// outDtype "f32" (unless given) or "u8": what a picture becomes.
  DType picture_dtype() const;
  /// After planning: throws InvalidArgument for a tensor or parameter that nobody asked for, such as a misspelt one.
  void refuse_unused() const;

  /// A result. The first call allocates it, later ones (a call runs once to plan, then to work) return the same.
  Tensor output(const char* name, DType dtype, std::initializer_list<int64_t> shape);
  Tensor output_like(const char* name, DType dtype, const Tensor& shape);
  /// A result that is written by the host, whatever the device.
  Tensor host_output(const char* name, DType dtype, std::initializer_list<int64_t> shape);
  Tensor host_output_like(const char* name, const Tensor& shape) {
    return add_output(name, shape.dtype, shape, nullptr);
  }
  /// When the work is done: brings results from the device into the process; no memory of the device is held from then
  /// on.
  void fetch_outputs();
  /// An operand changed in place: a result that starts, at every run, as a copy of the input of the same name.
  Tensor inout(const Context&, const char* name);
  Seconds copying;                      // the CPU: spent on those copies, which are no part of an operation's time
  std::unique_ptr<Device::Mark> begun;  // a device: where the operation begins, behind those copies

  /// Benchmarks on a device, after planning: gives the operands of `runs` runs so many places that those of one run
  /// have left the device's cache when they are used again. Operands changed in place are from then on not copied: a
  /// run goes on from what was left there.
  void spread(int64_t runs);
  /// Makes the operands those of the `run`-th run.
  void take_turn(int64_t run);

  struct Output {
    std::string name;
    Tensor tensor;
    Pages memory;
    bool on_host = true;
  };
  std::deque<Output> outputs;

 private:
  Tensor add_output(const char* name, DType dtype, const Tensor& shape, Device* where);
  struct Places {
    Tensor* operand;
    std::vector<void*> data;
  };
  std::vector<Places> places_;
  std::vector<Pages> spread_;

  template <class Map>
  const typename Map::mapped_type* look_up(const Map& map, const char* name) const {
    looked_up_.insert(name);
    const auto found = map.find(name);
    return found == map.end() ? nullptr : &found->second;
  }
  mutable std::set<std::string> looked_up_;
};

/// Places of a window of `size` on `length` pixels that are padded by `pad`, at most `most_pad`. What does not fit has
/// one: the operation refuses it.
int64_t window_places(int64_t length, int64_t size, int stride, int pad, int64_t most_pad);

/// A side of a picture in pixels; throws InvalidArgument unless it is 1 to 2^20.
int64_t picture_side(const char* kind, double size);

/// Runs one kind: checks its inputs, makes its outputs, calls operations. Called twice: planning, then for real.
using Run = void (*)(Context&, Call&);

/// All kinds by name; nullptr for an unknown one.
Run find(const std::string& kind);
std::vector<std::string> kinds();

}  // namespace iconface::binding
