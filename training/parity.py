#!/usr/bin/env python3
"""Writes what PyTorch computes with a model folder, for the native runtime to be compared with.

    python parity.py --model models/tiny --data HELD_OUT --out PARITY
    npm run parity -- PARITY                                     # each network by itself
    node training/compare_native.mjs --model models/tiny PARITY  # whole restores from the same noise

Networks run in float64 on real pictures: `transformer.safetensors` (with every part of the adapter, and without
references), `autoencoder.safetensors`, `face.safetensors`, in the form of the golden files. `restore.json` and its PNG
files are whole restores in float32, from the noise of seed 42 as `torch.randn` draws it on a CPU.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from iconface import safetensors
from iconface.adapter import identity_anchor
from iconface.autoencoder import BATCH_NORM_EPS, tokens_of
from iconface.checkpoint import Model
from iconface.data import PictureSet, to_pixels
from iconface.pictures import write_png
from iconface.training import use_threads
from iconface.transformer import position_ids
from sample import choose, noise_for, restore

SEED = 42


def golden(path, kind, config, tensors):
    """Float tensors are rounded to float32."""
    stored = {n: t.detach().float() if t.is_floating_point() else t.detach() for n, t in tensors.items()}
    safetensors.write(path, stored, {"kind": kind, "config": json.dumps(config)})


def prefixed(prefix, module):
    tensors = module.tensors() if hasattr(module, "tensors") else module.state_dict()
    return {prefix + name: tensor for name, tensor in tensors.items()}


@torch.no_grad()
def transformer_case(path, model, degraded, references):
    """degraded [1, 3, S, S], references [R, 3, S, S] float64; two timesteps as a batch."""
    flow, count = model.flow, len(references)
    inputs = {
        "scene_latents": tokens_of(noise_for(model, 2, SEED)).double(),
        "degraded_latents": tokens_of(model.autoencoder.encode(degraded)),
        "reference_latents": tokens_of(model.autoencoder.encode(references)),
        "text": torch.stack([model.prompt, model.empty]),
        "timesteps": torch.tensor([0.75, 0.25], dtype=torch.float64),
        "reference_embeddings_raw": model.face(model.crop(references)),
        "degraded_embedding_raw": model.face(model.crop(degraded)),
    }
    inputs = {name: tensor.float().double() for name, tensor in inputs.items()}  # as they will be stored
    text = inputs["text"].shape[1]
    ids = {
        "ids_with_references": position_ids(model.grid, text, count)[text:].long(),
        "ids_no_reference": position_ids(model.grid, text, 0)[text:].long(),
    }
    sizes = flow.transformer.config
    config = {"axes_dim": sizes.rope_axes, "theta": sizes.rope_theta, "scene_grid": model.grid, "degraded_grid": model.grid}
    tensors = {"weight." + n: t for n, t in flow.transformer.state_dict().items()}
    settings = flow.adapter.config if flow.adapter else None
    config["degraded_strength"] = settings.residual_strength if settings else 1.0
    config["temperature"] = settings.temperature if settings else 1.0
    tensors.update(prefixed("adapter.", flow.adapter) if flow.adapter else {})
    anchors = [inputs["reference_embeddings_raw"], inputs["degraded_embedding_raw"]]
    anchors = [identity_anchor(raw, config["temperature"]) for raw in anchors]
    for name, references_used, anchor in (
        ("full", inputs["reference_latents"].expand(2, -1, -1, -1), anchors[0]),
        ("no_reference", None, anchors[1]),
    ):
        tensors[f"output.{name}"] = flow.transformer(
            inputs["scene_latents"],
            inputs["degraded_latents"].expand(2, -1, -1),
            references_used,
            inputs["text"],
            inputs["timesteps"],
            model.grid,
            adapter=flow.adapter,
            anchor=anchor.expand(2, -1),
            all_tokens=True,
        )
    tensors.update({f"input.{n}": t for n, t in {**inputs, **ids}.items()})
    tensors["intermediate.anchor"], tensors["intermediate.fallback_anchor"] = anchors
    tensors["intermediate.anchor_norms"] = norms = inputs["reference_embeddings_raw"].norm(dim=-1)
    tensors["intermediate.anchor_weights"] = (norms.log() / config["temperature"]).softmax(0)
    golden(path, "iconface_adapter", config, tensors)


@torch.no_grad()
def autoencoder_case(path, model, images):
    """images [B, 3, S, S] float64"""
    images = images.float().double()
    encoded = model.autoencoder.encode(images)
    latents = (0.7 * encoded).float().double()
    tensors = prefixed("weight.", model.autoencoder)
    tensors.update({"input.image": images, "input.latents": latents, "output.encode": encoded})
    tensors["output.decode"] = model.autoencoder.decode(latents)
    tensors["output.decode_of_encode"] = model.autoencoder.decode(encoded)
    golden(path, "vae", {"bn_eps": BATCH_NORM_EPS, "group_norm_groups": model.autoencoder.config.groups}, tensors)


@torch.no_grad()
def face_case(path, model, pictures):
    """pictures [B, 112, 112, 3] uint8 R, G, B"""
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).flip(1).double() / 127.5 - 1
    raw = model.face(tensor)
    norm = raw.norm(dim=1, keepdim=True)
    tensors = prefixed("weight.", model.face)
    tensors.update({"input.image_rgb_u8": torch.from_numpy(pictures), "input.tensor_bgr": tensor})
    tensors.update({"output.embedding_raw": raw, "output.norm": norm, "output.embedding": raw / norm})
    golden(path, "adaface_ir", {"stage_units": model.face.config.units}, tensors)


@torch.no_grad()
def restore_cases(folder, model, data, chosen):
    """Each person with no, one and three references: PNG files, and which is which in restore.json."""
    cases = []
    for number, (picture, version, others) in enumerate(chosen):
        files = {"degraded": data.degraded[picture, version]}
        files.update({f"reference-{i}": data.clean[other] for i, other in enumerate(others)})
        for name, pixels in files.items():
            write_png(folder / f"{number}-{name}.png", np.ascontiguousarray(pixels))
        for count in (0, 1, 3):
            references = data.images(others[:count])[None] if count else None
            noise = noise_for(model, 1, SEED)
            image = restore(model, data.images([picture], [version]), references, noise)
            write_png(folder / f"{number}-restored-{count}.png", to_pixels(image)[0])
            cases.append(
                {
                    "degraded": f"{number}-degraded.png",
                    "references": [f"{number}-reference-{i}.png" for i in range(count)],
                    "restored": f"{number}-restored-{count}.png",
                }
            )
    (folder / "restore.json").write_text(json.dumps({"seed": SEED, "rng": "torch-cpu", "cases": cases}, indent=2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--people", type=int, default=2)
    arguments = parser.parse_args()
    use_threads()
    folder, data, model = Path(arguments.out), PictureSet(arguments.data), Model(arguments.model)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choose(data, "any", arguments.people)
    restore_cases(folder, model, data, chosen)
    for module in (model.flow, model.autoencoder, model.face):
        module.double()
    model.prompt, model.empty = model.prompt.double(), model.empty.double()
    picture, version, others = chosen[0]
    degraded, references = data.images([picture], [version]).double(), data.images(others[:2]).double()
    transformer_case(folder / "transformer.safetensors", model, degraded, references)
    autoencoder_case(folder / "autoencoder.safetensors", model, torch.cat([degraded, references[:1]]))
    top = (data.size - 112) // 2
    pictures = [data.image(picture)[top : top + 112, top : top + 112], data.degraded[picture, version][:112, :112]]
    face_case(folder / "face.safetensors", model, np.ascontiguousarray(np.stack(pictures)))


if __name__ == "__main__":
    main()
