"""The flow sampler: FLUX.2's schedule and Euler steps with guidance (model-specification.md 6)."""

import math

import torch


def schedule(steps, tokens):
    """Sigmas from 1 to 0, [steps + 1] floats, for a scene of so many tokens."""
    at_200 = 0.00016927 * tokens + 0.45666666
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    slope = (at_200 - at_10) / 190
    mu = at_200 if tokens > 4300 else slope * steps + at_200 - 200 * slope
    shifted = [math.exp(mu) / (math.exp(mu) + steps / (steps - i) - 1) for i in range(steps)]
    return shifted + [0.0]


@torch.no_grad()
def sample(model, noise, degraded, references, prompt, empty, anchor, grid, steps=12, guidance=4.0):
    """Restores: noise [B, S, C] -> latents [B, S, C].

    model is called as `model(scene, degraded, references, text, sigma, anchor)`; prompt and empty are [L, context].
    """
    z = noise
    batch = noise.shape[0]
    sigmas = schedule(steps, grid[0] * grid[1])
    for now, following in zip(sigmas, sigmas[1:]):
        t = torch.full((batch,), now, dtype=z.dtype, device=z.device)

        def predict(text):
            return model(z, degraded, references, text.expand(batch, -1, -1), t, anchor)

        u = predict(prompt)
        if guidance != 1:
            without = predict(empty)
            u = without + guidance * (u - without)
        z = z + (following - now) * u
    return z
