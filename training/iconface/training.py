"""What every training has in common: the run's folder, its log, learning rates, averaged weights, going on."""

import contextlib
import csv
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch

from .pictures import plot, write_png


def read_config(path):
    """A configuration. `extends` names another one beside it: groups of settings are merged, single values replaced."""
    path = Path(path)
    config = json.loads(path.read_text())
    if "extends" not in config:
        return config
    merged = read_config(path.parent / config.pop("extends"))
    for name, value in config.items():
        merged[name] = {**merged[name], **value} if isinstance(value, dict) and name in merged else value
    return merged


def pick_device(name=None):
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def use_threads():
    """PyTorch may start with one thread on a machine that has more."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def autocast(device, enabled=True):
    """bfloat16 for matrix products and convolutions; weights stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if enabled else contextlib.nullcontext()


def learning_rate(step, settings):
    """Linear warm-up, constant, then a cosine to zero over the last `cooldown` (a share) of the steps."""
    steps, cooldown = settings["steps"], settings.get("cooldown", 0.0)
    rate = settings["learning_rate"] * min(1.0, (step + 1) / max(1, settings.get("warmup", 0)))
    start = steps * (1 - cooldown)
    if step >= start and cooldown > 0:
        rate *= 0.5 + 0.5 * math.cos(math.pi * (step - start) / (steps - start))
    return rate


def step_generators(seed, step):
    """The random numbers of one step depend on nothing but these two, so a run that goes on draws the same ones."""
    return np.random.default_rng([seed, step]), torch.Generator().manual_seed(seed * 1_000_003 + step)


class Average:
    """Exponentially averaged weights, which are what is used and exported; the early steps weigh less."""

    def __init__(self, named, decay):
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in named}

    @torch.no_grad()
    def update(self, named, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in named:
            self.values[name].lerp_(parameter.detach(), 1 - decay)

    @contextlib.contextmanager
    def applied(self, named):
        """The parameters have the averaged values inside."""
        named = list(named)
        kept = {name: p.detach().clone() for name, p in named}
        with torch.no_grad():
            for name, p in named:
                p.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, p in named:
                    p.copy_(kept[name])


class RunFolder:
    """Where a training writes: log.csv, loss.png, state.pt (to go on from) and what it makes."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = []
        self.started = time.time()
        self.seconds = 0.0

    def __truediv__(self, name):
        return self.folder / name

    def load_state(self):
        """The state to go on from, or None."""
        path = self / "state.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location="cpu")
        self.seconds = state["seconds"]
        if (self / "log.csv").exists():
            with open(self / "log.csv") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) < state["step"]]
        return state

    def save_state(self, **state):
        state["seconds"] = self.elapsed()
        unfinished = self / "state.pt.part"
        torch.save(state, unfinished)
        os.replace(unfinished, self / "state.pt")

    def elapsed(self):
        return self.seconds + time.time() - self.started

    def log(self, step, **values):
        row = {"step": step, "seconds": round(self.elapsed(), 1)}
        row.update({k: float(f"{float(v):.6g}") for k, v in values.items()})
        self.rows.append(row)

    def write_log(self, curves):
        """log.csv, loss.png with the named columns, and the last row to the screen."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with open(self / "log.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        columns = {c: [float(r[c]) if r.get(c) not in (None, "") else math.nan for r in self.rows] for c in curves}
        columns = {c: v for c, v in columns.items() if not all(map(math.isnan, v))}
        write_png(self / "loss.png", plot(columns))
        if self.rows:
            print("  ".join(f"{k} {v}" for k, v in self.rows[-1].items()), flush=True)


def optimizer_for(parameters, settings):
    """AdamW; vectors (norms, biases, gates) are not decayed."""
    parameters = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.get("weight_decay", 0.01)},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=(0.9, settings.get("beta2", 0.99)))


def set_learning_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate
