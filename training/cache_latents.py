#!/usr/bin/env python3
"""Encodes every picture of a data set once, so that the flow training only runs the transformer.

    python cache_latents.py --data DATA --config configs/tiny.json --run RUN --out CACHE
    python cache_latents.py --data DATA --backbone MODEL --out CACHE

Writes, for M pictures with V degraded versions, T tokens of C values each:

    latents.f16     [M, 1 + V, T, C] the clean picture first
    embeddings.f32  [M, 1 + V, 512] raw identity embeddings
    cache.json      { data, pictures, versions, tokens, channels, embedding }
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from iconface.autoencoder import tokens_of
from iconface.checkpoint import load_autoencoder, load_face, read_model_config
from iconface.data import PictureSet
from iconface.face_encoder import FaceCrop
from iconface.training import autocast, pick_device, read_config, use_threads


@torch.no_grad()
def encode_all(autoencoder, face, data, out, device, bf16, batch=16):
    crop = FaceCrop(data.size).to(device)
    jobs = [(m, v) for m in range(data.count) for v in range(-1, data.versions)]
    with open(out / "latents.f16", "wb") as latents, open(out / "embeddings.f32", "wb") as embeddings:
        for start in range(0, len(jobs), batch):
            images = data.images(*zip(*jobs[start : start + batch])).to(device)
            with autocast(device, bf16):
                tokens = tokens_of(autoencoder.encode(images.contiguous(memory_format=torch.channels_last)))
            raw = face(crop(images))
            latents.write(tokens.float().cpu().numpy().astype(np.float16).tobytes())
            embeddings.write(raw.float().cpu().numpy().tobytes())
            if start % (100 * batch) == 0:
                print(f"{start} of {len(jobs)}", flush=True)
    return {"tokens": tokens.shape[1], "channels": tokens.shape[2], "embedding": raw.shape[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--config", help="of the run")
    parser.add_argument("--run", help="where autoencoder and face encoder were trained")
    parser.add_argument("--backbone", help="a model folder, in place of the two")
    parser.add_argument("--out", required=True)
    parser.add_argument("--device")
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    use_threads()
    if arguments.backbone:
        model = read_model_config(arguments.backbone)
        files, groups = (model["autoencoder"]["file"], model["identity"]["file"]), model["autoencoder"]["groups"]
    elif arguments.config and arguments.run:
        run, groups = Path(arguments.run), read_config(arguments.config)["autoencoder"]["groups"]
        files = run / "autoencoder/autoencoder.safetensors", run / "face/adaface.safetensors"
    else:
        parser.error("--backbone, or --config and --run, are needed")
    device, out = pick_device(arguments.device), Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    data = PictureSet(arguments.data)
    (out / "cache.json").unlink(missing_ok=True)
    autoencoder = load_autoencoder(files[0], device, groups).to(memory_format=torch.channels_last)
    sizes = encode_all(autoencoder, load_face(files[1], device), data, out, device, arguments.bf16)
    description = {"data": str(data.folder.resolve()), "pictures": data.count, "versions": data.versions, **sizes}
    (out / "cache.json").write_text(json.dumps(description, indent=2) + "\n")


if __name__ == "__main__":
    main()
