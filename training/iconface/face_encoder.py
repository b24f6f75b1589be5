"""The AdaFace IR network under its published names, its margin head, and the cut of the 112 px face it looks at."""

from dataclasses import dataclass, field
from typing import List

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIDE = 112

# The similarity from the 512 px restoration template to AdaFace's 112 px one (model-specification.md 7), pixel centres
# at integers.
TEMPLATE_MATRIX = np.array(
    [
        [0.29209004878085754, 4.450798369352841e-05, -18.93014554381962],
        [-4.450798369352766e-05, 0.29209004878085754, -17.86001946740319],
    ]
)


@dataclass
class FaceConfig:
    base: int = 16
    stages: List[int] = field(default_factory=lambda: [16, 32, 48, 64])
    units: List[int] = field(default_factory=lambda: [2, 2, 3, 2])
    embedding: int = 512


def conv(into, out, kernel, stride=1):
    return nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)


class Unit(nn.Module):
    def __init__(self, into, out, stride):
        super().__init__()
        self.stride = stride
        if into != out:
            self.shortcut_layer = nn.Sequential(conv(into, out, 1, stride), nn.BatchNorm2d(out))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(into),
            conv(into, out, 3),
            nn.BatchNorm2d(out),
            nn.PReLU(out),
            conv(out, out, 3, stride),
            nn.BatchNorm2d(out),
        )

    def forward(self, x):
        shortcut = self.shortcut_layer(x) if hasattr(self, "shortcut_layer") else x[..., :: self.stride, :: self.stride]
        return shortcut + self.res_layer(x)


class FaceEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.input_layer = nn.Sequential(conv(3, config.base, 3), nn.BatchNorm2d(config.base), nn.PReLU(config.base))
        units, channels = [], config.base
        for out, count in zip(config.stages, config.units):
            for i in range(count):
                units.append(Unit(channels, out, 2 if i == 0 else 1))
                channels = out
        self.body = nn.Sequential(*units)
        side = SIDE // 2 ** len(config.stages)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(0.0),
            nn.Flatten(),
            nn.Linear(channels * side * side, config.embedding),
            nn.BatchNorm1d(config.embedding, affine=False),
        )

    def forward(self, face):
        """B, G, R in [-1, 1], [B, 3, 112, 112] -> raw embeddings [B, 512]: the direction is who, the norm how well seen."""
        return self.output_layer(self.body(self.input_layer(face))).to(face.dtype)

    def tensors(self):
        return {name: t for name, t in self.state_dict().items() if not name.endswith("num_batches_tracked")}


class AdaFaceHead(nn.Module):
    """Cosine classification with AdaFace's quality-adaptive margin (Kim et al., CVPR 2022, Eq. 16-19).

    The feature norm, standardised over the running batch statistics and clipped to [-1, 1], shifts the margin from
    angular (low norm: hard samples count less) to additive (high norm: hard samples count more).
    """

    def __init__(self, embedding, classes, margin=0.4, concentration=0.333, scale=64.0, momentum=0.01):
        super().__init__()
        self.kernel = nn.Parameter(F.normalize(torch.randn(embedding, classes), dim=0))
        self.margin, self.concentration, self.scale, self.momentum = margin, concentration, scale, momentum
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("std", torch.tensor(100.0))

    def forward(self, raw, labels):
        """raw embeddings [B, 512], labels [B] -> logits [B, classes]"""
        norms = raw.norm(dim=1).clamp(0.001, 100).detach()
        if self.training:
            with torch.no_grad():
                self.mean.lerp_(norms.mean(), self.momentum)
                self.std.lerp_(norms.std(), self.momentum)
        quality = ((norms - self.mean) / (self.std + 1e-3) * self.concentration).clamp(-1, 1)
        cosine = (F.normalize(raw) @ F.normalize(self.kernel, dim=0)).clamp(-1 + 1e-3, 1 - 1e-3)
        chosen = cosine.gather(1, labels[:, None])[:, 0]
        angle = (chosen.acos() - self.margin * quality).clamp(1e-3, np.pi - 1e-3)
        with_margin = angle.cos() - (self.margin + self.margin * quality)
        return self.scale * cosine.scatter(1, labels[:, None], with_margin[:, None])


def crop_matrix(size, mode="template"):
    """[2, 3]: an aligned picture of `size` pixels -> the 112 px face."""
    ratio = SIDE / 512
    of_512 = TEMPLATE_MATRIX if mode == "template" else np.array([[ratio, 0, ratio / 2 - 0.5], [0, ratio, ratio / 2 - 0.5]])
    scale = 512 / size
    matrix = of_512 * scale
    matrix[:, 2] = of_512[:, 2] + of_512[:, :2].sum(1) * (0.5 * scale - 0.5)
    return matrix


class FaceCrop(nn.Module):
    """Cuts the 112 px face: a triangle filter as wide as one output pixel, zero outside; differentiable."""

    def __init__(self, size, mode="template"):
        super().__init__()
        matrix = crop_matrix(size, mode)
        inverse = np.linalg.inv(matrix[:, :2])
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        positions = np.stack([x - matrix[0, 2], y - matrix[1, 2]], axis=-1) @ inverse.T
        radius = max(1.0, abs(np.linalg.det(inverse)) ** 0.5)
        taps = int(np.ceil(radius))
        columns, across = self._footprints(positions[..., 0].ravel(), radius, taps, size)
        rows, down = self._footprints(positions[..., 1].ravel(), radius, taps, size)
        index = rows[:, None] * size + columns[None]
        weight = down[:, None] * across[None]
        used = weight.reshape(-1, SIDE * SIDE).any(axis=1)
        self.register_buffer("index", torch.from_numpy(index.reshape(-1, SIDE * SIDE)[used]), persistent=False)
        weights = torch.from_numpy(weight.reshape(-1, SIDE * SIDE)[used]).float()
        self.register_buffer("weight", weights, persistent=False)

    @staticmethod
    def _footprints(positions, radius, taps, size):
        """Pixels and weights of the triangles around positions [P]: [2 taps, P] each."""
        pixels = np.floor(positions)[None] + np.arange(1 - taps, taps + 1)[:, None]
        weights = np.maximum(0, 1 - np.abs(pixels - positions) / radius)
        weights /= weights.sum(axis=0)
        weights[(pixels < 0) | (pixels >= size)] = 0
        return np.clip(pixels, 0, size - 1).astype(np.int64), weights

    def forward(self, image):
        """R, G, B [B, 3, size, size] -> B, G, R [B, 3, 112, 112]; outside the picture is 0 in 8 bits, here -1."""
        flat = image.flip(1).flatten(2) + 1
        face = sum(flat[:, :, index] * weight for index, weight in zip(self.index, self.weight.to(image.dtype)))
        return face.unflatten(-1, (SIDE, SIDE)) - 1


def config_of(tensors):
    """Reads the sizes off the tensors of a checkpoint: a stage begins where the number of channels changes."""
    stages, units, block = [], [], 0
    while f"body.{block}.res_layer.1.weight" in tensors:
        out = tensors[f"body.{block}.res_layer.1.weight"].shape[0]
        if stages and stages[-1] == out:
            units[-1] += 1
        else:
            stages.append(out)
            units.append(1)
        block += 1
    return FaceConfig(
        base=tensors["input_layer.0.weight"].shape[0],
        stages=stages,
        units=units,
        embedding=tensors["output_layer.3.weight"].shape[0],
    )
