"""FLUX.2's autoencoder by PyTorch, 512 px, random weights: encoding and decoding in f32 and in bf16, channels last.
Prints a line of JSON per case.

Usage: python3 pytorch_vae.py [--threads 2] [--repeat 3] [--precision f32|bf16]"""

import torch
import torch.nn.functional as F
from torch import nn

from pytorch_common import measure, options, report

LEVELS, LATENT = (128, 256, 512, 512), 32


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.proj = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (c(y).flatten(2).transpose(1, 2) for c in (self.q, self.k, self.v))
        weights = torch.softmax(torch.bmm(q * q.shape[-1] ** -0.5, k.transpose(1, 2)), -1)
        return x + self.proj(torch.bmm(weights, v).transpose(1, 2).reshape(x.shape))


def middle(channels):
    return [ResnetBlock(channels, channels), Attention(channels), ResnetBlock(channels, channels)]


class Down(nn.Conv2d):
    def __init__(self, channels):
        super().__init__(channels, channels, 3, stride=2)

    def forward(self, x):
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def encoder():
    layers, width = [nn.Conv2d(3, LEVELS[0], 3, padding=1)], LEVELS[0]
    for i, channels in enumerate(LEVELS):
        layers += [ResnetBlock(width, channels), ResnetBlock(channels, channels)]
        width = channels
        if i + 1 < len(LEVELS):
            layers.append(Down(width))
    layers += [*middle(width), norm(width), nn.SiLU(), nn.Conv2d(width, 2 * LATENT, 3, padding=1)]
    return nn.Sequential(*layers, nn.Conv2d(2 * LATENT, 2 * LATENT, 1))


def decoder():
    width = LEVELS[-1]
    layers = [nn.Conv2d(LATENT, LATENT, 1), nn.Conv2d(LATENT, width, 3, padding=1), *middle(width)]
    for i, channels in reversed(list(enumerate(LEVELS))):
        layers += [ResnetBlock(width, channels), ResnetBlock(channels, channels), ResnetBlock(channels, channels)]
        width = channels
        if i > 0:
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(width, width, 3, padding=1)]
    return nn.Sequential(*layers, norm(width), nn.SiLU(), nn.Conv2d(width, 3, 3, padding=1))


def main():
    arguments, dtypes = options(__doc__, 3)
    cases = (("encode", encoder, (1, 3, 512, 512)), ("decode", decoder, (1, LATENT, 64, 64)))
    for name, dtype in dtypes:
        for case, make, shape in cases:
            place = dict(dtype=dtype, memory_format=torch.channels_last)
            network, x = make().to(**place).eval(), torch.randn(shape).to(**place)
            seconds = measure(lambda: network(x), arguments.repeat)
            report(case, name, seconds, seconds.alone, seconds.others)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
