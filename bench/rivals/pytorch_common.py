"""What the PyTorch programs share: options, timing, the line of JSON they print."""

import argparse
import json
import time

import torch


def options(doc, repeat=5):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=repeat)
    parser.add_argument("--precision", choices=["f32", "bf16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    torch.set_flush_denormal(True)  # random weights can let values fade
    dtypes = [("f32", torch.float32), ("bf16", torch.bfloat16)]
    return arguments, [d for d in dtypes if arguments.precision in (None, d[0])]


def measure(run, repeat):
    """Seconds of each of `repeat` runs after one that is not counted."""
    run()
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return seconds


def report(case, precision, seconds):
    program = f"PyTorch {torch.__version__}"
    print(json.dumps({"program": program, "case": case, "precision": precision, "seconds": seconds}), flush=True)
