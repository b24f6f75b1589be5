#!/usr/bin/env python3
"""Restores pictures of a data set with a model folder, in PyTorch, and shows them in a strip.

    python sample.py --model models/tiny --data HELD_OUT --out strip.png [--people 6] [--severity severe]
    python sample.py --model models/tiny --data HELD_OUT --numbers 40 [--guidance 1 1.5 2] [--judge ADAFACE]

Columns: truth, degraded, restored with 0, 1 and 3 references, the first reference. With --numbers no strip but the
averages over so many people: PSNR, and identity similarity to the truth and to the first reference. --judge names another
face encoder to measure with: one that the training never saw tells identity from what only pleases the model's own.
"""

import argparse
import json

import numpy as np
import torch
from torch.nn import functional as F

from iconface.adapter import identity_anchor
from iconface.autoencoder import latents_of, tokens_of
from iconface.checkpoint import Model, load_face
from iconface.data import PictureSet, to_pixels
from iconface.pictures import grid, write_png
from iconface.sampler import sample
from iconface.training import pick_device, use_threads

SEVERITIES = {"any": (0, 16), "mild": (0, 3), "moderate": (4, 8), "severe": (9, 16)}


def choose(data, severity, count, references=3):
    """(picture, version, others) of different people, in order, with a degraded version of that severity."""
    low, high = SEVERITIES[severity]
    chosen = []
    for person in data.people:
        inside = (data.strength[person] >= low) & (data.strength[person] <= high)
        if len(person) <= references or not inside.any():
            continue
        picture, version = np.argwhere(inside)[0]
        chosen.append((person[picture], version, np.delete(person, picture)[:references]))
    if len(chosen) < count:
        raise ValueError(f"expected at most {len(chosen)} people of severity {severity} but received {count}")
    return chosen[:count]


@torch.no_grad()
def restore(model, degraded, references, noise, steps=None, guidance=None):
    """degraded [B, 3, S, S], references [B, R, 3, S, S] or None, noise [B, C, h, w] -> images [B, 3, S, S]."""
    defaults = model.config["defaults"]
    encoded = None
    if references is not None:
        encoded = tokens_of(model.autoencoder.encode(references.flatten(0, 1))).unflatten(0, references.shape[:2])
        faces = model.face(model.crop(references.flatten(0, 1))).unflatten(0, references.shape[:2])
    else:
        faces = model.face(model.crop(degraded))[:, None]
    latents = sample(
        model.flow,
        tokens_of(noise),
        tokens_of(model.autoencoder.encode(degraded)),
        encoded,
        model.prompt,
        model.empty,
        identity_anchor(faces, model.config.get("adapter", {}).get("temperature", 1.0)),
        model.grid,
        steps or defaults.get("steps", 12),
        defaults.get("guidance", 4) if guidance is None else guidance,
    )
    return model.autoencoder.decode(latents_of(latents, model.grid))


def noise_for(model, count, seed=42):
    shape = (count, 4 * model.autoencoder.config.latent_channels, *model.grid)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def restore_columns(model, data, chosen, device, steps=None, guidance=None):
    """{name: images [B, 3, S, S]}: truth, degraded, restored with 0, 1 and 3 references, first reference."""
    pictures, versions, others = (np.array(x) for x in zip(*chosen))
    columns = {"truth": data.images(pictures), "degraded": data.images(pictures, versions)}
    references = torch.stack([data.images(o) for o in others])
    for count in (0, 1, 3):
        columns[f"{count} references"] = restore(
            model,
            columns["degraded"].to(device),
            references[:, :count].to(device) if count else None,
            noise_for(model, len(chosen)).to(device),
            steps,
            guidance,
        ).cpu()
    columns["first reference"] = references[:, 0]
    return columns


@torch.no_grad()
def numbers(model, columns, device, judge):
    """{column: {psnr, identity to truth, identity to first reference}}, identity as the face encoder `judge` sees it."""

    def embed(images):
        return F.normalize(judge(model.crop(images.clamp(-1, 1).to(device))), dim=-1).cpu()

    truth, reference = embed(columns["truth"]), embed(columns["first reference"])
    out = {}
    for name, images in columns.items():
        error = (images.clamp(-1, 1) - columns["truth"]).square().mean((1, 2, 3)) / 4
        faces = embed(images)
        out[name] = {
            "psnr": float((-10 * error.clamp(min=1e-9).log10()).mean()),
            "identity to truth": float((faces * truth).sum(-1).mean()),
            "identity to first reference": float((faces * reference).sum(-1).mean()),
        }
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="strip.png")
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--severity", choices=list(SEVERITIES), default="any")
    parser.add_argument("--numbers", type=int)
    parser.add_argument("--guidance", type=float, nargs="*", default=[None])
    parser.add_argument("--judge", help="a face encoder's file to measure identity with; the model's own if it is absent")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    use_threads()
    device, data = pick_device(arguments.device), PictureSet(arguments.data)
    model = Model(arguments.model, device)
    judge = load_face(arguments.judge, device) if arguments.judge else model.face
    chosen = choose(data, arguments.severity, arguments.numbers or arguments.people)
    for guidance in arguments.guidance:
        columns = restore_columns(model, data, chosen, device, arguments.steps, guidance)
        if arguments.numbers:
            report = {"guidance": guidance, "severity": arguments.severity, **numbers(model, columns, device, judge)}
            print(json.dumps(report), flush=True)
        else:
            write_png(arguments.out, grid(list(zip(*(to_pixels(images) for images in columns.values())))))


if __name__ == "__main__":
    main()
