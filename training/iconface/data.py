"""The data sets that make_data.mjs writes, memory-mapped."""

import json
from pathlib import Path

import numpy as np
import torch


class PictureSet:
    """M pictures of size S sorted by person, each with V degraded versions; see make_data.mjs."""

    def __init__(self, folder):
        folder = Path(folder)
        description = json.loads((folder / "data.json").read_text())
        self.folder = folder
        self.size, self.count, self.versions = (description[k] for k in ("size", "pictures", "versions"))
        done = np.fromfile(folder / "done.u8", np.uint8)
        if not done.all():
            raise ValueError(f"{folder} is unfinished, {done.sum()} of {len(done)} pictures: run make_data.mjs again")
        side = (self.size, self.size, 3)
        self.clean = np.memmap(folder / "clean.u8", np.uint8, "r", shape=(self.count, *side))
        self.degraded = np.memmap(folder / "degraded.u8", np.uint8, "r", shape=(self.count, self.versions, *side))
        self.strength = np.fromfile(folder / "strength.f32", np.float32).reshape(self.count, self.versions)
        self.identity = np.fromfile(folder / "identity.i32", np.int32)
        starts = np.flatnonzero(np.diff(self.identity, prepend=-1))
        self.people = [np.arange(a, b) for a, b in zip(starts, [*starts[1:], self.count])]
        self.landmarks = None
        if description["landmarks"]:
            self.landmarks = np.fromfile(folder / "landmarks.f32", np.float32)
            self.landmarks = self.landmarks.reshape(self.count, description["landmarks"], 2)

    def image(self, picture, version=-1):
        """[S, S, 3] uint8: the clean picture for version -1, else that degraded version."""
        return self.clean[picture] if version < 0 else self.degraded[picture, version]

    def images(self, pictures, versions=None):
        """Pictures as a batch [B, 3, S, S] in [-1, 1]; versions are those of `image`."""
        versions = [-1] * len(pictures) if versions is None else versions
        return to_batch([self.image(p, v) for p, v in zip(pictures, versions)])


def to_batch(images):
    """A list of [S, S, 3] uint8 -> [B, 3, S, S] float32 in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(batch):
    """[B, 3, S, S] in [-1, 1] -> [B, S, S, 3] uint8, clamped and truncated."""
    pixels = ((batch.detach().float().clamp(-1, 1) + 1) * 127.5).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


class LatentCache:
    """What cache_latents.py writes: latents and raw embeddings of pictures; version 0 is clean, 1 to V degraded."""

    def __init__(self, folder):
        folder = Path(folder)
        description = json.loads((folder / "cache.json").read_text())
        self.data, self.count, self.versions, self.tokens, self.channels, self.embedding = (
            description[k] for k in ("data", "pictures", "versions", "tokens", "channels", "embedding")
        )
        shape = (self.count, 1 + self.versions)
        self._latents = np.memmap(folder / "latents.f16", np.float16, "r", shape=(*shape, self.tokens, self.channels))
        self._embeddings = np.fromfile(folder / "embeddings.f32", np.float32).reshape(*shape, self.embedding)
        pictures = PictureSet(self.data)
        self.people, self.strength = pictures.people, pictures.strength

    def latents(self, pictures, versions):
        """[..., T, C] float32 for arrays of pictures and versions."""
        return torch.from_numpy(self._latents[pictures, versions].astype(np.float32))

    def embeddings(self, pictures, versions):
        """[..., 512] float32"""
        return torch.from_numpy(self._embeddings[pictures, versions])

    def others(self, picture, count):
        """The first so many other pictures of the same person."""
        person = next(p for p in self.people if p[0] <= picture <= p[-1])
        return person[person != picture][:count]
