#!/usr/bin/env python3
"""Trains the identity encoder: AdaFace's margin over the people of a data set, clean and degraded pictures alike.

    python train_face.py --config configs/tiny.json --data DATA --check HELD_OUT --run RUN

Writes RUN/face: state.pt, adaface.safetensors, log.csv, loss.png and report.json (how well people not trained on are
told apart, and how the norm follows the strength of the degradation).
"""

import argparse
import json

import numpy as np
import torch
from torch.nn import functional as F

from iconface import safetensors
from iconface.data import PictureSet
from iconface.face_encoder import AdaFaceHead, FaceConfig, FaceCrop, FaceEncoder
from iconface.training import (
    RunFolder, autocast, learning_rate, optimizer_for, pick_device, read_config, set_learning_rate, step_generators,
    use_threads,
)  # fmt: skip


def augment(images, random):
    """Shifts by up to 3 pixels; other brightness, contrast and tint; a quarter grey, so that shapes tell people apart too."""
    count = len(images)
    shift_y, shift_x = random.integers(-3, 4, (2, count))
    images = torch.stack([torch.roll(i, (int(y), int(x)), (1, 2)) for i, y, x in zip(images, shift_y, shift_x)])
    grey = torch.from_numpy(random.random(count) < 0.25)
    images[grey] = images[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    gain = torch.from_numpy(random.uniform(0.75, 1.25, (count, 3, 1, 1))).float()
    offset = torch.from_numpy(random.uniform(-0.15, 0.15, (count, 3, 1, 1))).float()
    return images * gain + offset


def draw_batch(data, settings, random):
    """Images, the number of their person, and the strength of their degradation."""
    pictures = random.integers(0, data.count, settings["batch"])
    versions = random.integers(0, data.versions, settings["batch"])
    versions[random.random(settings["batch"]) < settings["clean_share"]] = -1
    labels = torch.from_numpy(data.identity[pictures].astype(np.int64))
    strengths = np.where(versions < 0, 0, data.strength[pictures, versions])
    return augment(data.images(pictures, versions), random), labels, torch.from_numpy(strengths)


def correlation(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / (x.norm() * y.norm() + 1e-6)


@torch.no_grad()
def embed_all(model, crop, data, device, batch=64):
    """Raw embeddings of every picture, clean [M, 512] and degraded [M, V, 512]."""
    model.eval()
    jobs = [(m, v) for m in range(data.count) for v in range(-1, data.versions)]
    raw = []
    for start in range(0, len(jobs), batch):
        pictures, versions = zip(*jobs[start : start + batch])
        raw.append(model(crop(data.images(pictures, versions).to(device))).float().cpu())
    raw = torch.cat(raw).unflatten(0, (data.count, 1 + data.versions))
    return raw[:, 0], raw[:, 1:]


def ranks(x):
    return np.argsort(np.argsort(x)).astype(float)


def report(model, crop, data, device):
    """Same-person and other-person similarities on clean pictures, their AUC, and rank correlation norm <-> strength."""
    clean, degraded = embed_all(model, crop, data, device)
    similarity = (F.normalize(clean) @ F.normalize(clean).T).numpy()
    same = data.identity[:, None] == data.identity[None]
    pairs = np.triu(np.ones_like(same), 1).astype(bool)
    positive, negative = similarity[same & pairs], similarity[~same & pairs]
    order = ranks(np.concatenate([positive, negative]))[: len(positive)]
    auc = (order.sum() - len(positive) * (len(positive) - 1) / 2) / (len(positive) * len(negative))
    norms = degraded.norm(dim=-1).numpy().ravel()
    strengths = data.strength.ravel()
    kept = F.cosine_similarity(clean[:, None], degraded, dim=-1).numpy().ravel()
    by_strength = {}
    for name, low, high in (("mild", 0, 3), ("moderate", 4, 8), ("severe", 9, 16)):
        inside = (strengths >= low) & (strengths <= high)
        by_strength[name] = {"norm": float(norms[inside].mean()), "similarity to clean": float(kept[inside].mean())}
    return {
        "pictures": data.count,
        "similarity same person": float(positive.mean()),
        "similarity other person": float(negative.mean()),
        "auc": float(auc),
        "norm clean": float(clean.norm(dim=-1).mean()),
        "rank correlation norm, strength": float(np.corrcoef(ranks(norms), ranks(strengths))[0, 1]),
        "degraded": by_strength,
    }


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
    settings, device = config["train_face"], pick_device(arguments.device)
    data, run = PictureSet(arguments.data), RunFolder(f"{arguments.run}/face")
    torch.manual_seed(settings["seed"])
    model = FaceEncoder(FaceConfig(**config["face"])).to(device)
    head = AdaFaceHead(config["face"]["embedding"], len(data.people), scale=settings["scale"]).to(device)
    crop = FaceCrop(data.size).to(device)
    optimizer = optimizer_for([*model.parameters(), *head.parameters()], settings)
    first = 0
    if state := run.load_state():
        model.load_state_dict(state["model"])
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    for step in range(first, settings["steps"]):
        random, _ = step_generators(settings["seed"], step)
        images, labels, strengths = draw_batch(data, settings, random)
        model.train(), head.train()
        with autocast(device, settings["bf16"]):
            raw = model(crop(images.to(device))).float()
        # The full margin from the first step would leave nothing to learn from.
        head.margin = settings["margin"] * min(1.0, step / max(1, settings.get("margin_warmup", 0)))
        logits = head(raw, labels.to(device))
        loss = F.cross_entropy(logits, labels.to(device))
        # AdaFace leaves it to long training that the norm falls with quality; here that is asked for.
        follows = -correlation(raw.norm(dim=1), strengths.to(device).float())
        loss = loss + settings["norm_weight"] * (1 - follows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *head.parameters()], 5.0)
        rate = learning_rate(step, settings)
        set_learning_rate(optimizer, rate)
        optimizer.step()
        hits = (logits.argmax(1).cpu() == labels).float().mean()
        run.log(step, loss=loss, accuracy=hits, norm_follows=follows, norm=head.mean, rate=rate)
        if (step + 1) % settings["save_every"] == 0 or step + 1 == settings["steps"]:
            state = {"model": model.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state_dict()}
            run.save_state(step=step + 1, **state)
            run.write_log(["loss", "accuracy", "norm_follows"])
    safetensors.write(run / "adaface.safetensors", {n: t.contiguous() for n, t in model.tensors().items()})
    text = json.dumps(report(model, crop, PictureSet(arguments.check), device), indent=2)
    (run / "report.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
