"""The training objectives."""

import torch
from torch.nn import functional as F


def pyramid_loss(output, target, levels=3):
    """Mean absolute error of pixels and of their differences to the right and below, over a pyramid of resolutions."""
    total = 0.0
    for level in range(levels):
        total = total + (output - target).abs().mean()
        for axis in (-1, -2):
            total = total + (output.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
        if level < levels - 1:
            output, target = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
    return total / levels


def kl_divergence(mean, log_variance):
    """Of the latents' normal distributions from the standard one, mean over all values."""
    log_variance = log_variance.clamp(-30, 20)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def identity_weight(sigma, floor=0.25):
    """w(sigma) of model-specification.md 8. Sampling in few steps needs a higher floor: see train_flow.py."""
    return (1 - sigma).clamp(min=floor).square()


def truth_share(strength, strengths=None):
    """How much of the reference's part the truth takes over, [B]: all up to strengths[0], where the degraded picture shows
    who it is, nothing from strengths[1]; without strengths nothing, which is the specification."""
    if strengths is None:
        return torch.zeros_like(strength)
    weak, strong = strengths
    return ((strong - strength) / (strong - weak)).clamp(0, 1)


def identity_loss(embedding, e_ref, e_true, sigma, floor=0.25, share=0.0):
    """The identity terms of model-specification.md 8, [B]: embedding A(decode(z0_hat)) against anchor and truth.
    `share` is that of `truth_share`."""
    l = 0.25 * (1 - F.cosine_similarity(e_ref, e_true, dim=-1))
    l = l + (1 - l) * share
    to_reference = 1 - F.cosine_similarity(embedding, e_ref.detach(), dim=-1)
    to_truth = 1 - F.cosine_similarity(embedding, e_true.detach(), dim=-1)
    return identity_weight(sigma, floor) * ((1 - l) * to_reference + l * to_truth)
