"""Model folders: `iconface.json` and the safetensors files it names, as the runtime reads them (lib/checkpoint)."""

import hashlib
import json
import os
from pathlib import Path

import torch
from torch import nn

from . import adapter, autoencoder, face_encoder, lora, safetensors, transformer

PROMPT = "reference-guided face restoration of a high quality portrait photo of a person, natural skin, detailed face"
FILES = {
    "transformer": "transformer.safetensors",
    "autoencoder": "autoencoder.safetensors",
    "adapter": "adapter.safetensors",
    "identity": "adaface.safetensors",
    "prompt": "prompt_embeddings.safetensors",
    "lora": "lora.safetensors",
}


def float_tensors(path, strip=()):
    """The tensors of a file in float32, without the prefixes that publishers put before their names."""
    tensors, _ = safetensors.read(path)
    out = {}
    for name, tensor in tensors.items():
        for prefix in strip:
            name = name[len(prefix) :] if name.startswith(prefix) else name
        if tensor.is_floating_point():
            out[name] = tensor.float()
    return out


def freeze(module):
    return module.requires_grad_(False).eval()


def load_autoencoder(path, device="cpu", groups=32):
    """`groups` of GroupNorm are not in the file: `autoencoder.groups` of a configuration."""
    tensors = float_tensors(path)
    model = autoencoder.Autoencoder(autoencoder.config_of(tensors, groups))
    model.load_state_dict(tensors, strict=False)
    missing = set(model.tensors()) - set(tensors)
    if missing:
        raise ValueError(f"{path} lacks {sorted(missing)[0]}: Black Forest Labs' names are expected")
    return freeze(model).to(device)


def load_face(path, device="cpu"):
    tensors = {n: t for n, t in float_tensors(path, ["model."]).items() if not n.startswith("head.")}
    model = face_encoder.FaceEncoder(face_encoder.config_of(tensors))
    missing = set(model.tensors()) - set(tensors)
    if missing:
        raise ValueError(f"{path} lacks {sorted(missing)[0]}: AdaFace's published names are expected")
    model.load_state_dict(tensors, strict=False)
    return freeze(model).to(device)


def load_transformer(path, rope_axes, rope_theta, dtype=torch.float32):
    tensors = float_tensors(path, ["model.diffusion_model.", "diffusion_model."])
    if not any(name.startswith("double_blocks.") for name in tensors):
        raise ValueError(f"{path} has no double_blocks.*: Black Forest Labs' names are expected")
    model = transformer.Transformer(transformer.config_of(tensors, rope_axes, rope_theta)).to(dtype)
    model.load_state_dict(tensors)
    return model


def load_prompts(path, names=("prompt", "empty")):
    """The embeddings of the prompt and of the empty prompt, [tokens, context] float32 each."""
    tensors = float_tensors(path)
    return tuple(tensors[name] for name in names)


def read_model_config(folder):
    """The `iconface.json` of a folder, with defaults filled in and absolute paths."""
    folder = Path(folder)
    config = json.loads((folder / "iconface.json").read_text())
    for part in ("transformer", "autoencoder", "adapter", "identity", "prompt"):
        if part in config:
            config[part]["file"] = str((folder / config[part]["file"]).resolve())
    for item in config.setdefault("lora", []):
        path = (folder / item["file"]).resolve()
        item["file"] = str(path / "lora_weights.safetensors" if path.is_dir() else path)
    config["transformer"].setdefault("ropeAxes", [32, 32, 32, 32])
    config["transformer"].setdefault("ropeTheta", 2000)
    config["autoencoder"].setdefault("groups", 32)
    config.setdefault("defaults", {})
    return config


class Flow(nn.Module):
    """The transformer and its adapter (None for the variant `concat`): what the sampler calls."""

    def __init__(self, backbone, part, grid):
        super().__init__()
        self.transformer, self.adapter, self.grid = backbone, part, grid

    def forward(self, scene, degraded, references, text, sigma, anchor):
        return self.transformer(
            scene, degraded, references, text, sigma, self.grid, adapter=self.adapter, anchor=anchor
        )


class Model:
    """A whole model folder: `flow`, `autoencoder`, `face` (None without), `prompt`, `empty`, `config`."""

    def __init__(self, folder, device="cpu"):
        self.config = config = read_model_config(folder)
        backbone = config["transformer"]
        model = load_transformer(backbone["file"], backbone["ropeAxes"], backbone["ropeTheta"])
        for item in config["lora"]:
            tensors = model.state_dict()
            lora.merge(tensors, float_tensors(item["file"]), item.get("strength", 1.0))
            model.load_state_dict(tensors)
        part = None
        if "adapter" in config:
            tensors = float_tensors(config["adapter"]["file"])
            strength, temperature = (config["adapter"].get(k, 1.0) for k in ("residualStrength", "temperature"))
            sizes = adapter.config_of(tensors, model.config.heads, model.blocks, strength, temperature)
            part = adapter.Adapter(sizes)
            part.load_state_dict(tensors)
        self.autoencoder = load_autoencoder(config["autoencoder"]["file"], device, config["autoencoder"]["groups"])
        self.face = load_face(config["identity"]["file"], device) if "identity" in config else None
        size = config["defaults"].get("resolution", 512)
        self.size, side = size, size // self.autoencoder.config.token_pixels
        self.grid = (side, side)
        self.flow = freeze(Flow(model, part, self.grid)).to(device)
        self.crop = face_encoder.FaceCrop(size, config.get("identity", {}).get("crop", "template")).to(device)
        names = config["prompt"].get("withReferences", "prompt"), config["prompt"].get("empty", "empty")
        self.prompt, self.empty = (t.to(device) for t in load_prompts(config["prompt"]["file"], names))


def to_bf16(tensors):
    """Rounded to bfloat16, as they are shipped."""
    return {name: t.detach().cpu().to(torch.bfloat16).contiguous() for name, t in tensors.items()}


def write_model(folder, config, parts, links=None):
    """Writes a model folder: parts {transformer, autoencoder, adapter, identity, prompt, lora: tensors} in bfloat16.

    links {part: path} names files that stay where they are (a backbone's). `iconface.json` comes last, then
    `checksums.sha256` in the format of sha256sum.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    config = json.loads(json.dumps(config))
    for part, tensors in parts.items():
        metadata = {"prompt": PROMPT, "empty": ""} if part == "prompt" else None
        safetensors.write(folder / FILES[part], to_bf16(tensors), metadata)
        written.append(FILES[part])
        if part == "lora":
            config["lora"] = [{"file": FILES[part], **config.get("lora_settings", {})}]
        else:
            config.setdefault(part, {})["file"] = FILES[part]
    config.pop("lora_settings", None)
    for part, path in (links or {}).items():
        config.setdefault(part, {})["file"] = os.path.relpath(path, folder)
    (folder / "iconface.json").write_text(json.dumps(config, indent=2) + "\n")
    sums = [(hashlib.sha256((folder / name).read_bytes()).hexdigest(), name) for name in [*written, "iconface.json"]]
    (folder / "checksums.sha256").write_text("".join(f"{digest}  {name}\n" for digest, name in sums))
