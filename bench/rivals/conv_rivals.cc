// conv2d against oneDNN's convolution (channels-last activations, weights in its own layout beforehand, best algorithm it picks)
// on the shapes of the VAE at 512 px and of AdaFace IR-50. Usage: conv_rivals [threads] [rounds] [json]; ONLY=text filters.
#include "rivals.h"

extern "C" void omp_set_num_threads(int);  // what oneDNN computes with

namespace rivals {

struct Shape {
  int64_t size, in, out, kernel, stride;
};

std::function<void()> onednn(const Array& x, const Array& w, const Array& out, DType type, const Shape& s) {
  using namespace dnnl;
  static engine cpu(engine::kind::cpu, 0);
  static stream stream_(cpu);
  const auto t = dnnl_type(type);
  const int64_t pad = s.kernel / 2, size_out = (s.size + 2 * pad - s.kernel) / s.stride + 1;
  const memory::desc x_desc({1, s.in, s.size, s.size}, t, memory::format_tag::nhwc);
  const memory::desc out_desc({1, s.out, size_out, size_out}, t, memory::format_tag::nhwc);
  const memory::desc w_user({s.out, s.in, s.kernel, s.kernel}, t, memory::format_tag::ohwi);
  const memory::desc w_any({s.out, s.in, s.kernel, s.kernel}, t, memory::format_tag::any);
  const convolution_forward::primitive_desc desc(
      convolution_forward::desc(prop_kind::forward_inference, algorithm::convolution_direct, x_desc, w_any, out_desc,
                                {s.stride, s.stride}, {pad, pad}, {pad, pad}),
      cpu);
  memory user(w_user, cpu, w.data()), packed(desc.weights_desc(), cpu);
  reorder(user, packed).execute(stream_, user, packed);
  stream_.wait();
  return [primitive = convolution_forward(desc), packed, x_memory = memory(x_desc, cpu, x.data()),
          out_memory = memory(out_desc, cpu, out.data())] {
    primitive.execute(stream_, {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, out_memory}});
    stream_.wait();
  };
}

void run(iconface::ThreadPool& pool, Report& report, int rounds, DType type, const Shape& s) {
  char name[100];
  snprintf(name, sizeof name, "%s %lldx%lld %lld->%lld %lldx%lld/%lld", type == DType::F32 ? "f32" : "bf16",
           static_cast<long long>(s.size), static_cast<long long>(s.size), static_cast<long long>(s.in),
           static_cast<long long>(s.out), static_cast<long long>(s.kernel), static_cast<long long>(s.kernel),
           static_cast<long long>(s.stride));
  if (getenv("ONLY") && !strstr(name, getenv("ONLY"))) return;
  const int64_t pad = s.kernel / 2, size_out = (s.size + 2 * pad - s.kernel) / s.stride + 1;
  const int64_t weights = s.out * s.kernel * s.kernel * s.in, results = size_out * size_out * s.out;
  const Array x(type, s.size * s.size * s.in), w(type, weights), out(type, results), theirs(type, results);
  iconface::op::Conv2dArgs a;
  a.x = x.tensor({1, s.size, s.size, s.in});
  a.weight = w.tensor({s.out, s.kernel, s.kernel, s.in});
  a.out = out.tensor({1, size_out, size_out, s.out});
  a.stride = static_cast<int>(s.stride);
  a.pad_top = a.pad_left = a.pad_bottom = a.pad_right = static_cast<int>(pad);
  a.compute = type;
  const double flops = 2.0 * results * s.kernel * s.kernel * s.in;
  const std::vector<Contender> contenders = {
      {"iconface", prepare(pool, [a](iconface::Context& ctx) { iconface::cpu::ICONFACE_ISA::conv2d(ctx, a); })},
      {"onednn", onednn(x, w, theirs, type, s)}};
  report.add(name, flops, contenders, race(contenders, flops < 2e9 ? 10 * rounds : rounds));
}

}  // namespace rivals

int main(int argc, char** argv) {
  const int threads = argc > 1 ? atoi(argv[1]) : 2, rounds = argc > 2 ? atoi(argv[2]) : 5;
  omp_set_num_threads(threads);
  iconface::ThreadPool pool(threads);
  rivals::Report report("conv_rivals", threads, rounds);
  const rivals::Shape vae[] = {{512, 128, 128, 3, 1}, {512, 256, 128, 1, 1}, {256, 256, 256, 3, 1},
                               {512, 128, 3, 3, 1},   {128, 512, 512, 3, 1}, {64, 512, 512, 3, 1},
                               {64, 512, 512, 1, 1},  {256, 128, 128, 3, 2}};
  const rivals::Shape face[] = {{112, 3, 64, 3, 1},   {112, 64, 64, 3, 1},  {112, 64, 64, 3, 2},  {56, 64, 64, 3, 1},
                                {28, 128, 128, 3, 1}, {14, 256, 256, 3, 1}, {14, 256, 512, 3, 2}, {7, 512, 512, 3, 1}};
  for (iconface::DType type : {iconface::DType::BF16, iconface::DType::F32})
    for (const auto& s : vae) rivals::run(pool, report, rounds, type, s);
  for (const auto& s : face) rivals::run(pool, report, rounds, iconface::DType::F32, s);
  report.write(argc > 3 ? argv[3] : nullptr);
}
