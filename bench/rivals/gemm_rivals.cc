// linear against oneDNN's matmul (weights already in its own packed layout, which favours it: ours packs on every call)
// and OpenBLAS's sgemm. Usage: gemm_rivals [threads] [rounds] [json]; ONLY=text runs the cases whose name contains it.
#include <cblas.h>

#include "rivals.h"

extern "C" void openblas_set_num_threads(int);
extern "C" void omp_set_num_threads(int);  // what oneDNN computes with

namespace rivals {

std::function<void()> onednn(const Array& x, const Array& w, const Array& out, DType type, int64_t m, int64_t n,
                             int64_t k) {
  using namespace dnnl;
  static engine cpu(engine::kind::cpu, 0);
  static stream s(cpu);
  const auto t = dnnl_type(type);
  const memory::desc x_desc({m, k}, t, memory::format_tag::ab), out_desc({m, n}, t, memory::format_tag::ab);
  const memory::desc w_user({k, n}, t, memory::format_tag::ba), w_any({k, n}, t, memory::format_tag::any);
  const matmul::primitive_desc desc(matmul::desc(x_desc, w_any, out_desc), cpu);
  memory user(w_user, cpu, w.data()), packed(desc.weights_desc(), cpu);
  reorder(user, packed).execute(s, user, packed);
  s.wait();
  return [primitive = matmul(desc), packed, x_memory = memory(x_desc, cpu, x.data()),
          out_memory = memory(out_desc, cpu, out.data())] {
    primitive.execute(s, {{DNNL_ARG_SRC, x_memory}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, out_memory}});
    s.wait();
  };
}

void run(iconface::ThreadPool& pool, Report& report, int rounds, DType type, int64_t m, int64_t n, int64_t k,
         bool swiglu) {
  char name[100];
  snprintf(name, sizeof name, "%s %lldx%lldx%lld%s", type == DType::F32 ? "f32" : "bf16", static_cast<long long>(m),
           static_cast<long long>(n), static_cast<long long>(k), swiglu ? " swiglu" : "");
  if (getenv("ONLY") && !strstr(name, getenv("ONLY"))) return;
  const Array x(type, m * k), w(type, n * k), out(type, m * n), theirs(type, m * n);
  iconface::op::LinearArgs a;
  a.x = x.tensor({m, k});
  a.weight = w.tensor({n, k});
  a.out = out.tensor({m, swiglu ? n / 2 : n});
  if (swiglu) a.activation = iconface::op::Activation::Swiglu;
  std::vector<Contender> contenders;
  contenders.push_back({"iconface", prepare(pool, [a](iconface::Context& ctx) {
                          iconface::cpu::ICONFACE_ISA::linear(ctx, {1, {a}});
                        })});
  contenders.push_back({"onednn", onednn(x, w, theirs, type, m, n, k)});
  if (type == DType::F32)
    contenders.push_back({"openblas", [&] {
                            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, x.data<float>(), k,
                                        w.data<float>(), k, 0, theirs.data<float>(), n);
                          }});
  report.add(name, 2.0 * m * n * k, contenders, race(contenders, rounds));
}

}  // namespace rivals

int main(int argc, char** argv) {
  const int threads = argc > 1 ? atoi(argv[1]) : 2, rounds = argc > 2 ? atoi(argv[2]) : 5;
  omp_set_num_threads(threads);
  openblas_set_num_threads(threads);
  iconface::ThreadPool pool(threads);
  rivals::Report report("gemm_rivals", threads, rounds);
  const int64_t shapes[][3] = {{1024, 9216, 3072}, {1024, 27648, 3072}, {1024, 3072, 12288}, {512, 3072, 7680},
                               {2560, 9216, 3072}, {5120, 3072, 3072},  {77, 9216, 3072},    {1, 18432, 3072}};
  for (iconface::DType type : {iconface::DType::BF16, iconface::DType::F32})
    for (const auto& s : shapes) {
      rivals::run(pool, report, rounds, type, s[0], s[1], s[2], false);
      if (s[1] == 27648) rivals::run(pool, report, rounds, type, s[0], s[1], s[2], true);
    }
  report.write(argc > 3 ? argv[3] : nullptr);
}
