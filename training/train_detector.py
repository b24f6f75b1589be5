#!/usr/bin/env python3
"""Trains the face detector on composed scenes.

    python train_detector.py --config configs/detector.json --faces FACES --backgrounds FOLDER --run RUN [--drawn DATA]
    torchrun --nproc-per-node 2 train_detector.py ...    # several processes, each with a part of every batch

FACES holds labels.json and the portraits it names (role `train`); FOLDER pictures without faces; DATA drawn people, made by
make_data.mjs. Writes RUN/detector: state.pt, detector.safetensors (averaged weights), log.csv, loss.png, scenes.png (what it is
trained on) and report.json (what the averaged weights find in scenes that are not trained on). It takes `minutes` of the configuration, however
fast the machine is; what was stopped goes on.
"""

import argparse
import collections
import json
import math
import multiprocessing
import os
import time

import numpy as np
import torch
import torch.distributed as processes
from PIL import Image, ImageDraw

from iconface import safetensors
from iconface.detector import Detector, detections, losses, network_input, overlaps, priors
from iconface.pictures import grid, write_png
from iconface.scenes import Scenes, pick, read_backgrounds, read_drawn, read_portraits
from iconface.training import (
    Average, RunFolder, optimizer_for, pick_device, read_config, set_learning_rate, use_threads,
)  # fmt: skip

CHECK_SIDE, CHECK_STEP = 320, 2**31  # no training comes to that step, so its scenes are others


def side_of(step, settings):
    """The side of a step's scenes, and how many of them a process composes."""
    random = np.random.default_rng([settings["seed"], step])
    side = int(pick(random, settings["sides"]))
    return side, max(1, settings["pixels"] // side**2)


class Composer:
    """Makes the batches of the next steps in a process of its own."""

    scenes = None  # set before the process is forked, so that the pictures are in memory once

    def __init__(self, scenes, settings, first, rank):
        Composer.scenes = scenes
        self.settings, self.next, self.rank, self.waiting = settings, first, rank, collections.deque()
        self.pool = multiprocessing.get_context("fork").Pool(1)

    @staticmethod
    def compose(side, count, seed, step):
        return Composer.scenes.batch(side, count, seed, step)

    def take(self):
        while len(self.waiting) < self.settings["ahead"]:
            arguments = (*side_of(self.next, self.settings), [self.settings["seed"], self.rank], self.next)
            self.waiting.append(self.pool.apply_async(Composer.compose, arguments))
            self.next += 1
        return self.waiting.popleft().get()


def tensors_of(faces):
    return [tuple(torch.from_numpy(part) for part in face) for face in faces]


def scored(found, faces):
    """What was found (boxes, scores, landmarks) against what is there: faces, found ones, false ones, landmark errors by eyes."""
    boxes, points, counts = faces
    if len(boxes) == 0:
        return 0, 0, len(found[0]), []
    shared = overlaps(boxes, found[0]) if len(found[0]) else torch.zeros(len(boxes), 1)
    best, which = shared.max(1)
    hit = (best > 0.4) & counts
    false = int((shared.max(0)[0] < 0.3).sum()) if len(found[0]) else 0
    eyes = (points[hit, 1] - points[hit, 0]).norm(dim=1)
    errors = (found[2][which[hit]] - points[hit]).norm(dim=2).mean(1) / eyes if hit.any() else torch.zeros(0)
    return int(counts.sum()), int(hit.sum()), false, errors.tolist()


class Trainer:
    def __init__(self, arguments, config):
        self.settings, self.device = config["train_detector"], pick_device(arguments.device)
        self.world, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        if self.world > 1:
            processes.init_process_group("gloo")
        self.run = RunFolder(f"{arguments.run}/detector")
        drawn = read_drawn(arguments.drawn) if arguments.drawn else []
        backgrounds = read_backgrounds(arguments.backgrounds)
        self.scenes = Scenes(read_portraits(arguments.faces), drawn, backgrounds, config["scenes"])
        torch.manual_seed(self.settings["seed"])
        self.model = Detector().initialize().to(self.device, memory_format=torch.channels_last)
        buffers = [(n, b) for n, b in self.model.named_buffers() if b.is_floating_point()]
        self.named = list(self.model.named_parameters()) + buffers
        self.optimizer = optimizer_for(list(self.model.parameters()), self.settings)
        self.average = Average(self.named, self.settings["average"])
        self.priors, self.progress = {}, 0.0  # progress: share of the time that the training may take

    def priors_of(self, side):
        if side not in self.priors:
            self.priors[side] = priors(side, side)
        return self.priors[side]

    def step(self, step, pictures, faces):
        settings, side = self.settings, pictures.shape[1]
        inputs = network_input(torch.from_numpy(pictures)).to(self.device, memory_format=torch.channels_last)
        self.model.train()
        outputs = self.model(inputs)
        parts = losses([o.cpu() for o in outputs], self.priors_of(side), tensors_of(faces), settings)
        loss = parts[0] + settings["box_weight"] * parts[1] + settings["landmark_weight"] * parts[2]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.progress = self.shared(self.run.elapsed() / 60 / settings["minutes"])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings["clip"])
        rate = settings["learning_rate"] * min(1, (step + 1) / settings["warmup"])
        rate *= 0.5 + 0.5 * math.cos(math.pi * min(1, self.progress))
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.average.update(self.named, step)
        return {"loss": loss, "class": parts[0], "box": parts[1], "landmarks": parts[2], "rate": rate, "side": side}

    def shared(self, progress):
        """Gradients and progress become the means of all processes', so that all go on with equal weights and end together."""
        if self.world == 1:
            return progress
        gradients = [p.grad for p in self.model.parameters()]
        flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([progress])])
        processes.all_reduce(flat)
        *means, progress = (flat / self.world).split([g.numel() for g in gradients] + [1])
        for gradient, mean in zip(gradients, means):
            gradient.copy_(mean.view_as(gradient))
        return float(progress)

    @torch.no_grad()
    def check(self):
        """Faces found at a score of 0.5, false ones, and the median landmark error, in scenes kept for this."""
        self.model.eval()
        batch = self.scenes.batch(CHECK_SIDE, self.settings["check_scenes"], [self.settings["seed"], 0], CHECK_STEP)
        totals, errors, drawn = np.zeros(3, int), [], []
        for picture, faces in zip(batch[0], tensors_of(batch[1])):
            outputs = self.model(network_input(torch.from_numpy(picture[None])).to(self.device))
            found = detections([o[0].cpu() for o in outputs], self.priors_of(CHECK_SIDE), 0.5)
            *numbers, error = scored(found, faces)
            totals += numbers
            errors += error
            drawn.append(drawing(picture, found, faces))
        write_png(self.run / "scenes.png", grid([drawn[i : i + 6] for i in range(0, min(36, len(drawn)), 6)]))
        there, hit, false = (int(v) for v in totals)
        return {"faces": there, "found": hit, "false": false, "landmark error": float(np.median(errors or [1]))}

    def save(self, step):
        with self.average.applied(self.named):
            report = self.check()
            safetensors.write(self.run / "detector.safetensors", self.model.tensors())
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        self.run.save_state(step=step, average=self.average.values, **state)
        report = {"steps": step, "seconds": round(self.run.elapsed()), **report}
        (self.run / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        self.run.write_log(["loss", "class", "box", "landmarks"])
        print(json.dumps(report), flush=True)

    def train(self):
        first = 0
        if state := self.run.load_state():
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values = {n: t.to(self.device) for n, t in state["average"].items()}
            first = state["step"]
        composer = Composer(self.scenes, self.settings, first, self.rank)
        saved, step = time.time(), first
        while self.progress < 1:
            self.run.log(step, **self.step(step, *composer.take()))
            step += 1
            due = time.time() - saved > 60 * self.settings["save_minutes"] or self.progress >= 1
            if due and self.rank == 0:
                self.save(step)
                saved = time.time()
        composer.pool.terminate()


def drawing(picture, found, faces):
    """What is there in green (grey where it need not be found), what was found in red."""
    out = Image.fromarray(picture)
    draw = ImageDraw.Draw(out)
    for box, points, counts in zip(*faces):
        mark(draw, box, points, "lime" if counts else "grey")
    for box, _, points in zip(*found):
        mark(draw, box, points, "red")
    return np.asarray(out)


def mark(draw, box, points, colour):
    draw.rectangle(box.tolist(), outline=colour)
    for x, y in points.tolist():
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=colour)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--faces", required=True)
    parser.add_argument("--backgrounds", required=True)
    parser.add_argument("--drawn")
    parser.add_argument("--run", required=True)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    use_threads()
    Trainer(arguments, read_config(arguments.config)).train()


if __name__ == "__main__":
    main()
