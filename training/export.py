#!/usr/bin/env python3
"""Writes what was trained as a model folder that the runtime loads, in bfloat16.

    python export.py --config configs/tiny.json --run RUN --out models/tiny [--variant full] [--identity-stage]
    python export.py --config configs/klein-lora.json --run RUN --out MODEL --backbone BACKBONE

With --backbone only adapter and LoRA are written; `iconface.json` refers to the backbone's own files.
"""

import argparse
from pathlib import Path

import torch

from iconface import checkpoint
from iconface.adapter import VARIANTS
from iconface.training import read_config
from train_flow import random_prompts, stage_folder


def split_trained(values):
    """Averaged weights of a flow training -> {transformer, adapter, lora: tensors}; parts that were frozen are absent."""
    parts = {}
    for name, tensor in values.items():
        part, _, rest = name.partition(".")
        if ".lora_" in rest:
            part = "lora"
        parts.setdefault(part, {})[rest] = tensor
    return parts


def model_config(config, has_adapter):
    """What `iconface.json` says beside the names of files."""
    sizes = config["transformer"]
    out = {"format": 1, "name": config["name"]}
    out["transformer"] = {"ropeAxes": sizes["rope_axes"], "ropeTheta": sizes["rope_theta"]}
    if has_adapter:
        adapter = config["adapter"]
        out["adapter"] = {"residualStrength": adapter["residual_strength"], "temperature": adapter["temperature"]}
    out["autoencoder"] = {"groups": config["autoencoder"].get("groups", 32)}
    out["identity"] = {"crop": "template"}
    return {**out, "defaults": config["defaults"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--variant", choices=list(VARIANTS), default="full")
    parser.add_argument("--identity-stage", action="store_true", help="the weights of the second training")
    parser.add_argument("--backbone", help="the folder whose frozen backbone was fine-tuned")
    arguments = parser.parse_args()
    config, run = read_config(arguments.config), Path(arguments.run)
    folder = stage_folder(run, arguments.variant, arguments.identity_stage)
    state = torch.load(folder / "state.pt", map_location="cpu")
    parts, links = split_trained(state["average"]), {}
    if arguments.backbone:
        backbone = checkpoint.read_model_config(arguments.backbone)
        links = {part: backbone[part]["file"] for part in ("transformer", "autoencoder", "identity", "prompt")}
        description = model_config({**config, "transformer": rope_of(backbone)}, "adapter" in parts)
        if "lora" in parts:
            settings = config["lora"]
            description["lora_settings"] = {"strength": 1, "alpha": settings.get("alpha") or settings["rank"]}
        if "transformer" in parts:
            links.pop("transformer")
    else:
        description = model_config(config, "adapter" in parts)
        parts["autoencoder"] = checkpoint.float_tensors(run / "autoencoder/autoencoder.safetensors")
        parts["identity"] = checkpoint.float_tensors(run / "face/adaface.safetensors")
        parts["prompt"] = dict(zip(("prompt", "empty"), random_prompts(config)))
    checkpoint.write_model(arguments.out, description, parts, links)
    size = sum(f.stat().st_size for f in Path(arguments.out).glob("*.safetensors"))
    print(f"{arguments.out}: step {state['step']}, {size / 1e6:.1f} MB")


def rope_of(backbone):
    names = backbone["transformer"]
    return {"rope_axes": names["ropeAxes"], "rope_theta": names["ropeTheta"]}


if __name__ == "__main__":
    main()
