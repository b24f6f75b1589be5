"""What the PyTorch programs share: options, timing, the line of JSON they print."""

import argparse
import json
import os
import time

import torch


def options(doc, repeat=5):
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=repeat)
    parser.add_argument("--patience", type=float, default=0, help="seconds to wait for an idle machine, each time")
    parser.add_argument("--precision", choices=["f32", "bf16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    torch.set_flush_denormal(True)  # random weights can let values fade
    dtypes = [("f32", torch.float32), ("bf16", torch.bfloat16)]
    Timed.patience = arguments.patience
    return arguments, [d for d in dtypes if arguments.precision in (None, d[0])]


def processor_times():
    """Seconds in which all CPUs computed, and all seconds, since the system started (Linux)."""
    with open("/proc/stat") as stat:
        fields = [int(n) / os.sysconf("SC_CLK_TCK") for n in stat.readline().split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


class Timed(list):
    """Seconds of every run, their CPU time per thread, and the share of all CPUs that others used."""

    others = alone = 0.0
    patience = 0.0


def wait_until_quiet(patience):
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = processor_times()
        time.sleep(0.25)
        busy, everything = (b - a for a, b in zip(before, processor_times()))
        if busy < 0.03 * everything:
            break


def measure(run, repeat):
    """Times `repeat` runs after one that is not counted."""
    run()
    timed = Timed()
    wait_until_quiet(Timed.patience)
    (busy, everything), mine = processor_times(), time.process_time()
    for _ in range(repeat):
        begun = time.perf_counter()
        run()
        timed.append(time.perf_counter() - begun)
    mine = time.process_time() - mine
    timed.alone = mine / repeat / torch.get_num_threads()
    busy, everything = (after - before for after, before in zip(processor_times(), (busy, everything)))
    timed.others = max(0.0, (busy - mine) / everything) if everything > 0 else 0.0
    return timed


def report(case, precision, seconds, alone, others):
    line = {"program": f"PyTorch {torch.__version__}", "case": case, "precision": precision}
    print(json.dumps({**line, "seconds": list(seconds), "alone": alone, "others": others}), flush=True)
