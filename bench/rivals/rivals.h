// What the rival programs share: our operations without the addon, interleaved timing, a table and a JSON record.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dnnl.hpp>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/simd.h"
#include "runtime/context.h"

namespace rivals {

using iconface::DType;
using iconface::Tensor;

/// Random bytes of a tensor: numbers in [-1, 1], never zeros (zeros draw less power and clock higher).
class Array {
 public:
  Array(DType dtype, int64_t elements) : dtype_(dtype), pages_(elements * iconface::dtype_bytes(dtype)) {
    uint64_t state = 88172645463325252ull + elements;
    for (int64_t i = 0; i < elements; i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      const float value = static_cast<float>(static_cast<int64_t>(state >> 40) - (1 << 23)) / (1 << 23);
      if (dtype == DType::F32)
        data<float>()[i] = value;
      else
        data<uint16_t>()[i] = iconface::cpu::ICONFACE_ISA::narrow(value);
    }
  }
  template <class T = void>
  T* data() const {
    return reinterpret_cast<T*>(pages_.data());
  }
  Tensor tensor(std::initializer_list<int64_t> shape) const { return Tensor::of(data(), dtype_, shape); }

 private:
  DType dtype_;
  iconface::Pages pages_;
};

/// Plans an operation and returns a function that runs it.
inline std::function<void()> prepare(iconface::ThreadPool& pool, std::function<void(iconface::Context&)> run) {
  static const iconface::Backend no_backend{};  // the operations are called directly
  iconface::Workspace plan;
  iconface::Context planning{no_backend, pool, plan};
  run(planning);
  auto workspace = std::make_shared<iconface::Workspace>(iconface::Pages(std::max<int64_t>(plan.peak(), 64)));
  return [&pool, workspace, run] {
    iconface::Context ctx{no_backend, pool, *workspace};
    run(ctx);
  };
}

struct Contender {
  std::string name;
  std::function<void()> run;
};

/// Seconds of wall time; with CLOCK=thread of the calling thread's own CPU time, which a busy machine spoils less
/// (meaningful with one thread only).
inline double now() {
  static const bool own = getenv("CLOCK") && !strcmp(getenv("CLOCK"), "thread");
  timespec t;
  clock_gettime(own ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Median seconds of each contender over `rounds` rounds, one after the other within a round, after one warm-up.
inline std::vector<double> race(const std::vector<Contender>& contenders, int rounds) {
  std::vector<std::vector<double>> times(contenders.size());
  for (int round = -1; round < rounds; round++) {
    for (size_t i = 0; i < contenders.size(); i++) {
      const double start = now();
      contenders[i].run();
      const double seconds = now() - start;
      if (round >= 0) times[i].push_back(seconds);
    }
  }
  std::vector<double> medians;
  for (auto& t : times) {
    std::sort(t.begin(), t.end());
    medians.push_back(t[t.size() / 2]);
  }
  return medians;
}

/// Prints one line per case and collects the record.
class Report {
 public:
  Report(std::string program, int threads, int rounds) {
    std::string cpu = "unknown";
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);)
      if (line.rfind("model name", 0) == 0) cpu = line.substr(line.find(':') + 2);
    char head[500];
    snprintf(head, sizeof head,
             "{\n  \"program\": \"%s\",\n  \"cpu\": \"%s\",\n  \"threads\": %d,\n  \"rounds\": %d,\n  \"clock\": "
             "\"%s\",\n  \"unit\": \"GFLOP/s, median\",\n  \"cases\": [",
             program.c_str(), cpu.c_str(), threads, rounds, getenv("CLOCK") ? getenv("CLOCK") : "wall");
    json_ = head;
  }
  /// `flops` of the first contender, ours; its rate is compared with each rival's.
  void add(const std::string& name, double flops, const std::vector<Contender>& contenders,
           const std::vector<double>& seconds) {
    printf("%-40s", name.c_str());
    json_ += first_ ? "\n" : ",\n";
    first_ = false;
    json_ += "    { \"case\": \"" + name + "\"";
    for (size_t i = 0; i < contenders.size(); i++) {
      const double rate = flops / seconds[i] / 1e9;
      printf("  %s %6.1f", contenders[i].name.c_str(), rate);
      if (i > 0) printf(" (ours %3.0f %%)", 100 * seconds[i] / seconds[0]);
      char field[120];
      snprintf(field, sizeof field, ", \"%s\": %.1f", contenders[i].name.c_str(), rate);
      json_ += field;
    }
    json_ += " }";
    printf("\n");
    fflush(stdout);
  }
  void write(const char* path) {
    if (!path) return;
    std::ofstream(path) << json_ << "\n  ]\n}\n";
  }

 private:
  std::string json_;
  bool first_ = true;
};

inline dnnl::memory::data_type dnnl_type(DType t) {
  return t == DType::F32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

}  // namespace rivals
