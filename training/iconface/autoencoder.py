"""The FLUX.2 autoencoder under Black Forest Labs' tensor names. Images are [B, 3, H, W] in [-1, 1]."""

from dataclasses import dataclass, field
from typing import List

import torch
from torch import nn
from torch.nn import functional as F

GROUP_NORM_EPS, BATCH_NORM_EPS = 1e-6, 1e-4


@dataclass
class AutoencoderConfig:
    """`groups` are GroupNorm's. Its groups need three channels and more: one channel in a group loses its mean over the
    picture, and of two only their difference is left, so a picture of one colour could not be drawn."""

    latent_channels: int = 32
    base: int = 32
    levels: List[int] = field(default_factory=lambda: [64, 64, 96, 128])
    res_blocks: int = 1
    groups: int = 32

    @property
    def token_pixels(self):
        """Side of a latent token in pixels."""
        return 2 ** len(self.levels)


class GroupNorm(nn.GroupNorm):
    """In the type of its weights, also under autocast."""

    def forward(self, x):
        return super().forward(x.to(self.weight.dtype))


def norm(groups, channels):
    return GroupNorm(groups, channels, eps=GROUP_NORM_EPS)


def conv(into, out, kernel=3):
    return nn.Conv2d(into, out, kernel, padding=kernel // 2)


class ResBlock(nn.Module):
    def __init__(self, into, out, groups):
        super().__init__()
        self.norm1, self.conv1 = norm(groups, into), conv(into, out)
        self.norm2, self.conv2 = norm(groups, out), conv(out, out)
        if into != out:
            self.nin_shortcut = conv(into, out, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    """One head over all pixels."""

    def __init__(self, channels, groups):
        super().__init__()
        self.norm = norm(groups, channels)
        self.q, self.k, self.v, self.proj_out = (conv(channels, channels, 1) for _ in range(4))

    def forward(self, x):
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(1, 2)).softmax(-1).to(v.dtype)
        return x + self.proj_out((weights @ v).transpose(1, 2).reshape(x.shape))


class Middle(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.block_1 = ResBlock(channels, channels, groups)
        self.attn_1 = Attention(channels, groups)
        self.block_2 = ResBlock(channels, channels, groups)

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def level(into, out, blocks, groups):
    module = nn.Module()
    module.block = nn.ModuleList(ResBlock(into if i == 0 else out, out, groups) for i in range(blocks))
    return module


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv_in = conv(3, config.base)
        self.down = nn.ModuleList()
        channels = config.base
        for i, out in enumerate(config.levels):
            stage = level(channels, out, config.res_blocks, config.groups)
            if i < len(config.levels) - 1:
                stage.downsample = Downsample(out)
            self.down.append(stage)
            channels = out
        self.mid = Middle(channels, config.groups)
        self.norm_out = norm(config.groups, channels)
        self.conv_out = conv(channels, 2 * config.latent_channels)
        self.quant_conv = conv(2 * config.latent_channels, 2 * config.latent_channels, 1)

    def forward(self, x):
        """-> mean and log variance, [B, 2 channels, H / 8, W / 8]"""
        h = self.conv_in(x)
        for stage in self.down:
            for block in stage.block:
                h = block(h)
            if hasattr(stage, "downsample"):
                h = stage.downsample(h)
        return self.quant_conv(self.conv_out(F.silu(self.norm_out(self.mid(h)))))


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels = config.levels[-1]
        self.post_quant_conv = conv(config.latent_channels, config.latent_channels, 1)
        self.conv_in = conv(config.latent_channels, channels)
        self.mid = Middle(channels, config.groups)
        stages = []
        for i, out in reversed(list(enumerate(config.levels))):
            stage = level(channels, out, config.res_blocks + 1, config.groups)
            if i > 0:
                stage.upsample = Upsample(out)
            stages.insert(0, stage)
            channels = out
        self.up = nn.ModuleList(stages)
        self.norm_out = norm(config.groups, channels)
        self.conv_out = conv(channels, 3)

    def forward(self, z):
        h = self.mid(self.conv_in(self.post_quant_conv(z)))
        for stage in reversed(self.up):
            for block in stage.block:
                h = block(h)
            if hasattr(stage, "upsample"):
                h = stage.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def tokens_of(latents):
    """[B, C, h, w] -> [B, h w, C], row by row."""
    return latents.flatten(2).transpose(1, 2)


def latents_of(tokens, grid):
    """[B, h w, C] -> [B, C, h, w]"""
    return tokens.transpose(1, 2).unflatten(-1, tuple(grid))


class Autoencoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.bn = nn.BatchNorm2d(4 * config.latent_channels, eps=BATCH_NORM_EPS, affine=False)

    def initialize(self):
        """Weights to train from scratch: convolutions keep the variance, residual blocks start as the identity, latents
        have little noise."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, ResBlock):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, Attention):
                nn.init.zeros_(module.proj_out.weight)
        nn.init.constant_(self.encoder.quant_conv.bias.data[self.config.latent_channels :], -5.0)
        return self

    def moments(self, image):
        """-> mean, log variance before packing, [B, channels, H / 8, W / 8] each."""
        return self.encoder(image).float().chunk(2, dim=1)

    def pack(self, mean):
        """[B, c, 2 h, 2 w] -> [B, 4 c, h, w], channel order (c, row, column), not normalised."""
        return F.pixel_unshuffle(mean, 2)

    def normalise(self, packed):
        scale = (self.bn.running_var + BATCH_NORM_EPS).rsqrt()
        return (packed - self.bn.running_mean[:, None, None]) * scale[:, None, None]

    def encode(self, image):
        """The mean, packed and normalised: [B, 3, H, W] -> [B, 4 c, H / 16, W / 16]."""
        mean = self.encoder(image).chunk(2, dim=1)[0].to(self.bn.running_mean.dtype)
        return self.normalise(self.pack(mean))

    def decode(self, latents):
        """[B, 4 c, h, w] -> [B, 3, 16 h, 16 w], not clamped."""
        scale = (self.bn.running_var + BATCH_NORM_EPS).sqrt()
        packed = latents * scale[:, None, None] + self.bn.running_mean[:, None, None]
        return self.decoder(F.pixel_shuffle(packed, 2)).to(latents.dtype)

    def tensors(self):
        return {name: t for name, t in self.state_dict().items() if not name.endswith("num_batches_tracked")}


def config_of(tensors, groups=32):
    """Reads the sizes off the tensors of a checkpoint, which do not tell GroupNorm's groups."""
    levels = []
    while f"encoder.down.{len(levels)}.block.0.conv1.weight" in tensors:
        levels.append(tensors[f"encoder.down.{len(levels)}.block.0.conv1.weight"].shape[0])
    blocks = 0
    while f"encoder.down.0.block.{blocks}.conv1.weight" in tensors:
        blocks += 1
    return AutoencoderConfig(
        latent_channels=tensors["decoder.post_quant_conv.weight"].shape[0],
        base=tensors["encoder.conv_in.weight"].shape[0],
        levels=levels,
        res_blocks=blocks,
        groups=groups,
    )
