"""An encoder for the autoencoder without any training: principal components of 8 x 8 patches.

Where there is no time to train encoder and decoder together, the encoder of the architecture is set so that it computes
the principal components of each patch, almost exactly: its residual blocks are the identity, each downsampling
convolution keeps the strongest components of 2 x 2 patches, and the last level lays the components out so that GroupNorm
and SiLU leave them as they are. Only the decoder is trained then.
"""

import torch
from torch import nn
from torch.nn import functional as F

from .autoencoder import GROUPS

# A constant that is large beside the components (of deviation 1): with it in the group, GroupNorm hardly divides by
# anything that depends on the picture.
REFERENCE = 8.0


def components(samples, count):
    """Mean [C], standard deviations [count] and the strongest principal components [count, C] of samples [N, C]."""
    mean = samples.mean(0)
    centred = samples - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(samples))
    return mean, variances.flip(0)[:count].clamp(min=1e-12).sqrt(), vectors.flip(1)[:, :count].T


def identity_(conv):
    """Passes channels through a 1 x 1 or 3 x 3 convolution, as many as there are on both sides."""
    middle = conv.kernel_size[0] // 2
    for channel in range(min(conv.weight.shape[:2])):
        conv.weight.data[channel, channel, middle, middle] = 1.0


@torch.no_grad()
def set_encoder(model, images):
    """Sets the encoder of an Autoencoder from pictures [B, 3, S, S]; raises ValueError where the widths do not fit."""
    config, encoder = model.config, model.encoder
    width, per_group = config.levels[-1], config.levels[-1] // GROUPS
    if config.latent_channels != GROUPS or per_group < 3 or width == config.levels[-2]:
        raise ValueError(f"expected {GROUPS} latent channels and a last level of other width, 96 or more, for levels")
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    identity_(encoder.conv_in)
    x = images
    for stage, into, out in zip(encoder.down, [config.base, *config.levels], config.levels):
        if not hasattr(stage, "downsample"):
            break
        if into != out:
            identity_(stage.block[0].nin_shortcut)
        samples = F.pixel_unshuffle(x, 2).transpose(0, 1).flatten(1).T  # [N, 4 c], order (c, row, column)
        basis = components(samples, out)[2]
        count, channels = len(basis), x.shape[1]
        weight = basis.reshape(count, channels, 2, 2)
        stage.downsample.conv.weight[:count, :channels, :2, :2] = weight
        x = F.conv2d(x, weight, stride=2)
    set_last_level(encoder, x, per_group)


def set_last_level(encoder, x, per_group):
    """Each latent's component is the first channel of a group whose other channels are R and -R - component."""
    mean, deviation, basis = components(x.transpose(0, 1).flatten(1).T, GROUPS)
    basis = basis / deviation[:, None]
    offset = basis @ mean
    shortcut = encoder.down[-1].block[0].nin_shortcut
    first = torch.arange(GROUPS) * per_group
    channels = x.shape[1]
    shortcut.weight[first, :channels, 0, 0] = basis
    shortcut.bias[first] = -offset
    shortcut.bias[first + 1] = REFERENCE
    shortcut.weight[first + 2, :channels, 0, 0] = -basis
    shortcut.bias[first + 2] = offset - REFERENCE
    divided_by = REFERENCE * (2 / per_group) ** 0.5  # the group's standard deviation
    encoder.conv_out.weight[torch.arange(GROUPS), first, 1, 1] = 2 * divided_by  # SiLU halves small values
    identity_(encoder.quant_conv)
    encoder.quant_conv.bias[GROUPS:] = -8.0  # hardly any variance
