#!/usr/bin/env python3
"""Trains the autoencoder on clean and degraded pictures, then measures the statistics of its packed latents.

    python train_autoencoder.py --config configs/tiny.json --data DATA --check HELD_OUT --run RUN

Writes RUN/autoencoder: state.pt, autoencoder.safetensors, log.csv, loss.png, samples.png (pictures above, what comes
back below) and report.json. After `encoder_steps` the encoder and the statistics stay as they are and the decoder alone
learns on: from the file `frozen` on, latents can be cached and the flow trained beside it.
"""

import argparse
import json

import numpy as np
import torch

from iconface import safetensors
from iconface.autoencoder import Autoencoder, AutoencoderConfig
from iconface.data import PictureSet, to_pixels
from iconface.losses import kl_divergence, pyramid_loss
from iconface.pictures import grid, write_png
from iconface.training import (
    Average, RunFolder, autocast, learning_rate, optimizer_for, pick_device, read_config, set_learning_rate,
    step_generators, use_threads,
)  # fmt: skip


def draw_batch(data, settings, random):
    """Random square crops of `crop` pixels, flipped half of the time."""
    pictures = random.integers(0, data.count, settings["batch"])
    versions = random.integers(0, data.versions, settings["batch"])
    versions[random.random(settings["batch"]) < settings["clean_share"]] = -1
    images = data.images(pictures, versions)
    side = settings.get("crop", data.size)
    corners = random.integers(0, data.size - side + 1, (settings["batch"], 2))
    images = torch.stack([i[:, y : y + side, x : x + side] for i, (y, x) in zip(images, corners)])
    flipped = torch.from_numpy(random.random(settings["batch"]) < 0.5)
    images[flipped] = images[flipped].flip(-1)
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def measure_statistics(model, data, device, pictures, seed):
    """Mean and variance of every packed channel, over clean and degraded pictures in equal shares."""
    random = np.random.default_rng(seed)
    packed = []
    for start in range(0, pictures, 16):
        chosen = random.integers(0, data.count, 16)
        versions = np.where(np.arange(16) % 2, -1, random.integers(0, data.versions, 16))
        mean, _ = model.moments(data.images(chosen, versions).to(device))
        packed.append(model.pack(mean).cpu())
    packed = torch.cat(packed).double()
    model.bn.running_mean.copy_(packed.mean((0, 2, 3)))
    model.bn.running_var.copy_(packed.var((0, 2, 3)))


@torch.no_grad()
def check(model, data, device, pictures=64):
    """Clean held-out pictures, what comes back, and its PSNR."""
    images = data.images(np.linspace(0, data.count - 1, pictures).astype(int)).to(device)
    back = torch.cat([model.decode(model.encode(part)) for part in images.split(8)])
    error = (back.clamp(-1, 1) - images).square().mean((1, 2, 3)) / 4
    return images, back, float((-10 * error.log10()).mean())


class Trainer:
    def __init__(self, arguments, config):
        self.settings, self.device = config["train_autoencoder"], pick_device(arguments.device)
        self.data, self.held_out = PictureSet(arguments.data), PictureSet(arguments.check)
        self.run = RunFolder(f"{arguments.run}/autoencoder")
        torch.manual_seed(self.settings["seed"])
        model = Autoencoder(AutoencoderConfig(**config["autoencoder"])).initialize()
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.encoder_learns = True
        self.trained = list(self.model.named_parameters())
        self.optimizer = optimizer_for([p for _, p in self.trained], self.settings)
        self.average = Average(self.trained, self.settings["average"])

    def step(self, step):
        """One update; returns what is logged."""
        settings = self.settings
        random, generator = step_generators(settings["seed"], step)
        images = draw_batch(self.data, settings, random).to(self.device)
        with autocast(self.device, settings["bf16"]):
            with torch.set_grad_enabled(self.encoder_learns):
                mean, log_variance = self.model.moments(images)
            noise = torch.randn(mean.shape, generator=generator).to(self.device)
            back = self.model.decoder(mean + (0.5 * log_variance).exp() * noise).float()
        values = {"loss": pyramid_loss(back, images), "l1": (back - images).abs().mean()}
        loss = values["loss"]
        if self.encoder_learns:
            values["kl"] = kl_divergence(mean, log_variance)
            loss = loss + settings["kl_weight"] * values["kl"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in self.trained], 1.0)
        values["rate"] = learning_rate(step, settings)
        set_learning_rate(self.optimizer, values["rate"])
        self.optimizer.step()
        self.average.update(self.trained, step)
        return values

    @torch.no_grad()
    def freeze_encoder(self):
        """The encoder stays at its averaged weights, so cached latents keep their meaning."""
        for name, parameter in self.model.encoder.named_parameters():
            parameter.copy_(self.average.values[f"encoder.{name}"])
        self.model.encoder.requires_grad_(False)
        self.trained = [(name, p) for name, p in self.trained if p.requires_grad]
        self.encoder_learns = False

    def measure(self):
        """The latents' statistics."""
        with autocast(self.device, self.settings["bf16"]):
            pictures, seed = self.settings["statistics_pictures"], self.settings["seed"]
            measure_statistics(self.model, self.data, self.device, pictures, seed)

    def write_weights(self):
        tensors = {name: t.contiguous() for name, t in self.model.tensors().items()}
        safetensors.write(self.run / "autoencoder.safetensors", tensors)

    def save(self, step):
        """The state, and the averaged weights as a file that can be used already."""
        model, run = self.model, self.run
        with self.average.applied(self.trained):
            if self.encoder_learns:
                self.measure()
            with autocast(self.device, self.settings["bf16"]):
                images, back, psnr = check(model, self.held_out, self.device, self.settings["check_pictures"])
            self.write_weights()
        run.save_state(
            step=step, model=model.state_dict(), optimizer=self.optimizer.state_dict(), average=self.average.values
        )
        if not self.encoder_learns:
            (run / "frozen").touch()
        run.rows[-1]["psnr"] = round(psnr, 2)
        write_png(run / "samples.png", grid([to_pixels(images[:8]), to_pixels(back[:8])]))
        run.write_log(["loss", "l1", "kl"])
        report = {"psnr held-out": psnr, "pictures": len(images), "steps": step, "seconds": round(run.elapsed())}
        (run / "report.json").write_text(json.dumps(report, indent=2) + "\n")

    def train(self):
        first = 0
        if state := self.run.load_state():
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values = {n: t.to(self.device) for n, t in state["average"].items()}
            first = state["step"]
        steps, encoder_steps = self.settings["steps"], self.settings["encoder_steps"]
        for step in range(first, steps):
            if step >= encoder_steps and self.encoder_learns:
                self.freeze_encoder()
                self.measure()
            self.run.log(step, **self.step(step))
            if (step + 1) % self.settings["save_every"] == 0 or step + 1 == steps:
                self.save(step + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--check", required=True, help="a data set of other people, to report on")
    parser.add_argument("--run", required=True)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    use_threads()
    Trainer(arguments, read_config(arguments.config)).train()


if __name__ == "__main__":
    main()
