#!/usr/bin/env python3
"""Trains the autoencoder on clean and degraded pictures, then measures the statistics of its packed latents.

    python train_autoencoder.py --config configs/tiny.json --data DATA --check HELD_OUT --run RUN

Writes RUN/autoencoder: state.pt, autoencoder.safetensors, log.csv, loss.png, samples.png (pictures above, what comes
back below) and report.json.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--check", required=True, help="a data set of other people, to report on")
    parser.add_argument("--run", required=True)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    use_threads()
    config = read_config(arguments.config)
    settings, device = config["train_autoencoder"], pick_device(arguments.device)
    data, held_out = PictureSet(arguments.data), PictureSet(arguments.check)
    run = RunFolder(f"{arguments.run}/autoencoder")
    torch.manual_seed(settings["seed"])
    model = Autoencoder(AutoencoderConfig(**config["autoencoder"])).to(device, memory_format=torch.channels_last)
    optimizer = optimizer_for(model.parameters(), settings)
    average = Average(model.named_parameters(), settings["average"])
    first = 0
    if state := run.load_state():
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values = state["average"]
        first = state["step"]

    def save(step):
        run.save_state(step=step, model=model.state_dict(), optimizer=optimizer.state_dict(), average=average.values)
        with average.applied(model.named_parameters()):
            measure_statistics(model, data, device, 64, settings["seed"])
            images, back, psnr = check(model, held_out, device, 8)
        run.rows[-1]["psnr"] = round(psnr, 2)
        write_png(run / "samples.png", grid([to_pixels(images), to_pixels(back)]))
        run.write_log(["loss", "l1", "kl"])

    for step in range(first, settings["steps"]):
        random, generator = step_generators(settings["seed"], step)
        images = draw_batch(data, settings, random).to(device)
        with autocast(device, settings["bf16"]):
            mean, log_variance = model.moments(images)
            noise = torch.randn(mean.shape, generator=generator).to(device)
            back = model.decoder(mean + (0.5 * log_variance).exp() * noise).float()
        reconstruction, kl = pyramid_loss(back, images), kl_divergence(mean, log_variance)
        loss = reconstruction + settings["kl_weight"] * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = learning_rate(step, settings)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        average.update(model.named_parameters(), step)
        run.log(step, loss=reconstruction, l1=(back - images).detach().abs().mean(), kl=kl, rate=rate)
        if (step + 1) % settings["save_every"] == 0 or step + 1 == settings["steps"]:
            save(step + 1)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(average.values[name])
    measure_statistics(model, data, device, settings["statistics_pictures"], settings["seed"])
    safetensors.write(run / "autoencoder.safetensors", {n: t.contiguous() for n, t in model.tensors().items()})
    _, _, psnr = check(model, held_out, device)
    text = json.dumps({"psnr held-out": psnr, "steps": settings["steps"], "seconds": run.elapsed()}, indent=2)
    (run / "report.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
