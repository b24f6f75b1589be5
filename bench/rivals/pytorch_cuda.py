"""PyTorch on a GPU at the shapes that our own benchmark measured: cuBLAS by torch.matmul for every linear (torch._scaled_mm
with a scale for every row for those in fp8), every backend of scaled_dot_product_attention for every attention, and the denoising loop of klein-4B, eager and compiled, with random
weights, guidance, and the attention that was fastest. Times are CUDA events; operands rotate past the cache.

Usage: python3 pytorch_cuda.py --ours ops.json networks.json --out torch.json [--seconds 200] [--device cpu --tiny]"""

import argparse
import contextlib
import json
import math
import os
import re
import statistics
import time

import torch
import torch.nn.functional as F

import klein_blocks
from klein_blocks import KLEIN_4B, TINY, Klein


class Clock:
    """Seconds of a run: by the GPU's events, or the process's clock on the CPU."""

    def __init__(self, device, tiny):
        self.cuda = device.startswith("cuda")
        self.round = 0.01 if tiny else 0.3
        self.cache = 128 << 20 if self.cuda else 0

    def places(self, operands):
        """So many copies of `operands` that those of one run have left the cache when they are used again."""
        size = sum(t.numel() * t.element_size() for t in operands)
        return [operands] + [[t.clone() for t in operands] for _ in range(min(50, self.cache // max(size, 1)))]

    def measure(self, run, operands=(), least=5):
        """Seconds of every run of `run(*operands)`, after a warm-up."""
        places = self.places(list(operands))
        for _ in range(2):
            run(*places[0])
        self.synchronize()
        begun = time.perf_counter()
        run(*places[0])
        self.synchronize()
        count = max(least, min(200, math.ceil(self.round / max(time.perf_counter() - begun, 1e-6))))
        if not self.cuda:
            return [self.by_process(run, places[i % len(places)]) for i in range(count)]
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        marks[0].record()
        for i in range(count):
            run(*places[i % len(places)])
            marks[i + 1].record()
        self.synchronize()
        return [1e-3 * a.elapsed_time(b) for a, b in zip(marks, marks[1:])]

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    @staticmethod
    def by_process(run, operands):
        begun = time.perf_counter()
        run(*operands)
        return time.perf_counter() - begun


class Record:
    """What was measured, written to a file after every case: whoever cuts this off keeps the rest."""

    def __init__(self, file, facts):
        self.file, self.facts, self.rows = file, facts, []

    def add(self, name, shape, variant, seconds, precision="bf16"):
        median = statistics.median(seconds)
        print(f"{name:<24} {shape:<24} {variant:<24} {1e3 * median:10.3f} ms", flush=True)
        times = {"median": median, "min": min(seconds), "max": max(seconds), "runs": len(seconds)}
        self.rows.append({"name": name, "shape": shape, "variant": variant, "precision": precision, **times})
        self.write(finished=False)

    def write(self, finished):
        partial = f"{self.file}.partial"
        with open(partial, "w") as file:
            json.dump({"finished": finished, **self.facts, "rows": self.rows}, file, indent=2)
        os.replace(partial, self.file)


def products(record, clock, device, name, shape):
    """The bare product, or one after the other those that ours makes in one launch, whatever epilogue ours has."""
    *rows, n, k = (int(size) for size in shape.split("x"))
    operands = []
    for m in rows:
        x = torch.randn(m, k, device=device).bfloat16()
        weight = (torch.randn(n, k, device=device) / math.sqrt(k)).bfloat16()
        operands += [x, weight, torch.empty(m, n, device=device, dtype=torch.bfloat16)]

    def run(*operands):
        for x, w, out in zip(*[iter(operands)] * 3):
            torch.matmul(x, w.t(), out=out)

    record.add(name, shape, "matmul", clock.measure(run, operands))


def products_fp8(record, clock, device, name, shape):
    """The same of e4m3 with a scale for every row of both operands, sums promoted to float32 and not; operands as they are
    after quantising."""
    if not hasattr(torch, "_scaled_mm") or not hasattr(torch, "float8_e4m3fn"):
        return
    m, n, k = (int(size) for size in shape.split("x"))
    x, weight = (torch.randn(rows, k, device=device).to(torch.float8_e4m3fn) for rows in (m, n))
    scale_x, scale_weight = torch.rand(m, 1, device=device), torch.rand(1, n, device=device)
    for fast in (False, True):
        run = lambda x, w, a, b: torch._scaled_mm(
            x, w.t(), scale_a=a, scale_b=b, out_dtype=torch.bfloat16, use_fast_accum=fast
        )
        variant = "_scaled_mm, fast sums" if fast else "_scaled_mm"
        try:
            seconds = clock.measure(run, (x, weight, scale_x, scale_weight))
        except RuntimeError as error:
            print(f"{name} {shape} {variant}: {str(error).splitlines()[0]}", flush=True)
            continue
        record.add(name, shape, variant, seconds, "fp8")


def backends():
    """Ways to attend, by name: a context under which scaled_dot_product_attention takes that one."""
    if not hasattr(F, "scaled_dot_product_attention"):
        return {"products": contextlib.nullcontext}
    from torch.nn.attention import SDPBackend, sdpa_kernel

    names = ["FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"]
    found = {name: getattr(SDPBackend, name, None) for name in names}
    return {name: (lambda b=b: sdpa_kernel(b)) for name, b in found.items() if b is not None}


def attentions(record, clock, device, shape):
    queries, keys, heads, width = (int(size) for size in shape.split("x"))
    q, k, v = (torch.randn(1, heads, n, width, device=device).bfloat16() for n in (queries, keys, keys))
    for name, context in backends().items():
        if name == "MATH" and queries * keys * heads > 1 << 28:
            continue  # does not fit, and is never the fastest
        try:
            with context():
                record.add("attention", shape, name, clock.measure(klein_blocks.attention, (q, k, v)))
        except RuntimeError as error:
            print(f"attention {shape} {name}: {str(error).splitlines()[0]}", flush=True)


def schedule(steps, tokens):
    """FLUX.2's sigmas (model-specification.md 6)."""
    m200, m10 = 0.00016927 * tokens + 0.45666666, 8.73809524e-05 * tokens + 1.89833333
    a = (m200 - m10) / 190
    shift = math.exp(m200 if tokens > 4300 else a * steps + m200 - 200 * a)
    return [shift / (shift + 1 / (1 - i / steps) - 1) for i in range(steps)] + [0.0]


@torch.no_grad()
def denoise(model, sizes, device, steps, text, scene, condition, context):
    """The whole loop, as one operand-less run: both branches of the guidance in one batch."""
    tokens = text + scene + condition
    cos, sin = (torch.randn(tokens, sizes.width // 2, device=device) for _ in range(2))
    prompts = torch.randn(2, text, sizes.context, device=device).bfloat16()
    noise = torch.randn(1, scene, sizes.channels, device=device)
    given = torch.randn(1, condition, sizes.channels, device=device).bfloat16()
    sigmas = [torch.tensor(sigma, device=device) for sigma in schedule(steps, scene)]

    @torch.no_grad()
    def run():
        z = noise
        with context():
            for now, after in zip(sigmas, sigmas[1:]):
                image = torch.cat((z.bfloat16(), given), 1).expand(2, -1, -1)
                empty, prompt = model(image, prompts, now, cos, sin)[:, :scene].float().chunk(2)
                z = z + (after - now) * (empty + 4 * (prompt - empty))
        return z

    return run


def fastest(rows):
    """The backend that was fastest at the loop's attention, else at the last one measured."""
    contenders = [r for r in rows if r["name"] == "attention"]
    if not contenders:
        return next(iter(backends()))
    klein = [r["shape"] for r in contenders if r["shape"].endswith("x24x128")]  # the widest heads are the autoencoder's
    shape = (klein or [contenders[-1]["shape"]])[-1]
    return min((r for r in contenders if r["shape"] == shape), key=lambda r: r["median"])["variant"]


def loops(record, clock, device, sizes, shapes, best, until, compiling):
    """Whether there was time for all of them."""
    torch.manual_seed(1)
    with torch.device(device) if hasattr(torch.device, "__enter__") else contextlib.nullcontext():
        torch.set_default_dtype(torch.bfloat16)
        model = Klein(sizes).eval()
        torch.set_default_dtype(torch.float32)
    model = model.to(device)
    all_run = True
    for variant in ["eager", "compile"] if compiling else ["eager"]:
        if variant == "compile":
            for block in [*model.doubles, *model.singles]:
                block.compile()
        for shape in shapes:
            if time.monotonic() > until:
                print(f"denoise {shape} {variant}: no time left", flush=True)
                all_run = False
                continue
            steps, text, scene, condition = (int(n) for n in re.match(r"(\d+)x2x\((\d+)\+(\d+)\+(\d+)\)", shape).groups())
            run = denoise(model, sizes, device, steps, text, scene, condition, backends()[best])
            record.add("denoise", shape, variant, clock.measure(run, least=3))
    return all_run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", nargs="+", required=True, help="records of iconface bench --json")
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=200, help="after which nothing new is begun")
    parser.add_argument("--tiny", action="store_true", help="a small network, to see that this works")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    until = time.monotonic() + arguments.seconds
    device, sizes = arguments.device, TINY if arguments.tiny else KLEIN_4B
    measured = [r for file in arguments.ours for r in json.load(open(file))["rows"]]
    ours = [r for r in measured if r["precision"] == "bf16"]
    clock = Clock(device, arguments.tiny)
    shapes = lambda prefix: [(r["name"], r["shape"]) for r in ours if r["name"].startswith(prefix)]
    name = torch.cuda.get_device_name(device) if clock.cuda else "CPU"
    facts = {"program": f"PyTorch {torch.__version__}", "cuda": torch.version.cuda, "device": name, "attention": None}
    record = Record(arguments.out, facts)
    for name, shape in shapes("linear"):
        products(record, clock, device, name, shape)
    for r in measured:
        if r["precision"] == "fp8" and r["name"].startswith("linear"):
            products_fp8(record, clock, device, r["name"], r["shape"])
    for _, shape in shapes("attention"):
        attentions(record, clock, device, shape)
    best = facts["attention"] = fastest(record.rows)
    compiling = hasattr(torch, "compile") and clock.cuda
    all_run = loops(record, clock, device, sizes, [s for _, s in shapes("denoise")], best, until, compiling)
    record.write(finished=all_run)


if __name__ == "__main__":
    main()
