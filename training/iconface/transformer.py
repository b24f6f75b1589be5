"""The FLUX.2 [klein] transformer under Black Forest Labs' tensor names, with places for the adapter to act.

Shapes: B batch, L text tokens, N image tokens, D hidden size, H heads, d = D / H. No linear layer has a bias.
"""

from dataclasses import dataclass, field
from typing import List

import torch
from torch import nn
from torch.nn import functional as F

EPS = 1e-6
TIME_CHANNELS = 256
DEGRADED_TIME, FIRST_REFERENCE_TIME = 2, 10


@dataclass
class TransformerConfig:
    in_channels: int = 128
    context: int = 64
    hidden: int = 192
    double_blocks: int = 3
    single_blocks: int = 8
    mlp_ratio: float = 3.0
    rope_axes: List[int] = field(default_factory=lambda: [8, 8, 8, 8])
    rope_theta: float = 2000.0

    @property
    def head_dim(self):
        return sum(self.rope_axes)

    @property
    def heads(self):
        return self.hidden // self.head_dim

    @property
    def mlp(self):
        return int(self.hidden * self.mlp_ratio)


def linear(into, out):
    return nn.Linear(into, out, bias=False)


def layer_norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=EPS)


def modulate(x, shift, scale):
    """(1 + scale) LN(x) + shift; shift and scale are [B, 1 or tokens, D]."""
    return torch.addcmul(shift.to(x.dtype), 1 + scale.to(x.dtype), layer_norm(x))


def timestep_embedding(t, channels=TIME_CHANNELS, max_period=10000.0):
    """[B] times in [0, 1] -> [B, channels]: cosines, then sines, of 1000 t at falling frequencies."""
    half = channels // 2
    exponents = torch.arange(half, device=t.device, dtype=torch.float64) / half
    angles = 1000.0 * t.double()[:, None] * max_period**-exponents
    return torch.cat([angles.cos(), angles.sin()], dim=-1).to(t.dtype)


def position_ids(grid, text, references, degraded_grid=None, origin=(0, 0)):
    """Ids (t, h, w, l) of [text; scene; degraded; references], [tokens, 4] float64. Grids are (rows, columns).

    `origin` is the (row, column) of the first token, where all images are windows into larger ones (training only).
    """

    def image(time, rows, columns):
        h, w = torch.meshgrid(origin[0] + torch.arange(rows), origin[1] + torch.arange(columns), indexing="ij")
        zero = torch.zeros_like(h)
        return torch.stack([zero + time, h, w, zero], dim=-1).reshape(-1, 4)

    words = torch.zeros(text, 4, dtype=torch.int64)
    words[:, 3] = torch.arange(text)
    images = [image(0, *grid), image(DEGRADED_TIME, *(degraded_grid or grid))]
    images += [image(FIRST_REFERENCE_TIME + r, *grid) for r in range(references)]
    return torch.cat([words, *images]).double()


def rope_table(ids, axes, theta):
    """Cosines and sines of the rotations, [tokens, d / 2] float64: every axis of the ids turns its slice of the head."""
    angles = []
    for axis, size in enumerate(axes):
        frequencies = theta ** -(torch.arange(0, size, 2, device=ids.device, dtype=torch.float64) / max(size, 1))
        angles.append(ids[:, axis, None] * frequencies)
    angles = torch.cat(angles, dim=-1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Turns adjacent pairs of the last axis of [B, H, tokens, d]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([cos * even - sin * odd, sin * even + cos * odd], dim=-1).flatten(-2)


def attention(q, k, v):
    """Softmax attention over [B, H, tokens, d]; the sum over heads' rows comes back as [B, tokens, H d]."""
    if hasattr(F, "scaled_dot_product_attention") and q.is_cuda:
        out = F.scaled_dot_product_attention(q, k, v)
    else:
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        out = logits.softmax(dim=-1).to(v.dtype) @ v
    return out.transpose(1, 2).flatten(-2)


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, x):
        x = x.to(self.scale.dtype)
        return x * (x.square().mean(-1, keepdim=True) + EPS).rsqrt() * self.scale


class QKNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.query_norm = RMSNorm(size)
        self.key_norm = RMSNorm(size)


def normed_heads(qkv, norm, heads):
    """[B, tokens, 3 D] laid out (3, H, d) -> q, k, v [B, H, tokens, d], the first two normalised."""
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return norm.query_norm(q), norm.key_norm(k), v


class SelfAttention(nn.Module):
    def __init__(self, hidden, head_dim):
        super().__init__()
        self.qkv = linear(hidden, 3 * hidden)
        self.norm = QKNorm(head_dim)
        self.proj = linear(hidden, hidden)


class Gate(nn.Module):
    """[a, b] -> SiLU(a) b."""

    def forward(self, x):
        a, b = x.chunk(2, dim=-1)
        return F.silu(a) * b


def gated_mlp(hidden, mlp):
    return nn.Sequential(linear(hidden, 2 * mlp), Gate(), linear(mlp, hidden))


class Modulation(nn.Module):
    def __init__(self, hidden, parts):
        super().__init__()
        self.lin = linear(hidden, parts * hidden)

    def forward(self, vec):
        """[B, D] -> [B, parts D]"""
        return self.lin(F.silu(vec))


class DoubleBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.img_attn = SelfAttention(config.hidden, config.head_dim)
        self.img_mlp = gated_mlp(config.hidden, config.mlp)
        self.txt_attn = SelfAttention(config.hidden, config.head_dim)
        self.txt_mlp = gated_mlp(config.hidden, config.mlp)

    def forward(self, img, txt, mod_img, mod_txt, rope):
        """Modulations are [B, 1, 6 D]."""
        img_mod, txt_mod = mod_img.chunk(6, dim=-1), mod_txt.chunk(6, dim=-1)
        q_txt, k_txt, v_txt = normed_heads(
            self.txt_attn.qkv(modulate(txt, *txt_mod[:2])), self.txt_attn.norm, self.heads
        )
        q_img, k_img, v_img = normed_heads(
            self.img_attn.qkv(modulate(img, *img_mod[:2])), self.img_attn.norm, self.heads
        )
        q = rotate(torch.cat([q_txt, q_img], dim=2), *rope)
        k = rotate(torch.cat([k_txt, k_img], dim=2), *rope)
        out = attention(q, k, torch.cat([v_txt, v_img], dim=2))
        txt_out, img_out = out.split([txt.shape[1], img.shape[1]], dim=1)
        img = img + img_mod[2] * self.img_attn.proj(img_out)
        img = img + img_mod[5] * self.img_mlp(modulate(img, *img_mod[3:5]))
        txt = txt + txt_mod[2] * self.txt_attn.proj(txt_out)
        txt = txt + txt_mod[5] * self.txt_mlp(modulate(txt, *txt_mod[3:5]))
        return img, txt


class SingleBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.hidden, self.mlp = config.heads, config.hidden, config.mlp
        self.linear1 = linear(config.hidden, 3 * config.hidden + 2 * config.mlp)
        self.linear2 = linear(config.hidden + config.mlp, config.hidden)
        self.norm = QKNorm(config.head_dim)
        self.gate = Gate()

    def forward(self, x, mod, rope):
        """The modulation is [B, 1 or tokens, 3 D]."""
        shift, scale, gate = mod.chunk(3, dim=-1)
        qkv, up = self.linear1(modulate(x, shift, scale)).split([3 * self.hidden, 2 * self.mlp], dim=-1)
        q, k, v = normed_heads(qkv, self.norm, self.heads)
        out = attention(rotate(q, *rope), rotate(k, *rope), v)
        hidden = self.gate(up)
        return x + gate * self.linear2(torch.cat([out.to(hidden.dtype), hidden], dim=-1))


class TimeEmbedder(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.in_layer = linear(TIME_CHANNELS, hidden)
        self.out_layer = linear(hidden, hidden)

    def forward(self, t):
        return self.out_layer(F.silu(self.in_layer(timestep_embedding(t))))


class FinalLayer(nn.Module):
    def __init__(self, hidden, out):
        super().__init__()
        self.linear = linear(hidden, out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), linear(hidden, 2 * hidden))

    def forward(self, x, vec):
        shift, scale = self.adaLN_modulation(vec)[:, None].chunk(2, dim=-1)
        return self.linear(modulate(x, shift, scale))


class Transformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        hidden = config.hidden
        self.img_in = linear(config.in_channels, hidden)
        self.txt_in = linear(config.context, hidden)
        self.time_in = TimeEmbedder(hidden)
        self.double_stream_modulation_img = Modulation(hidden, 6)
        self.double_stream_modulation_txt = Modulation(hidden, 6)
        self.single_stream_modulation = Modulation(hidden, 3)
        self.double_blocks = nn.ModuleList(DoubleBlock(config) for _ in range(config.double_blocks))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.single_blocks))
        self.final_layer = FinalLayer(hidden, config.in_channels)

    @property
    def blocks(self):
        return self.config.double_blocks + self.config.single_blocks

    def initialize(self):
        """Weights to train from scratch: modulations start at zero, so every block starts as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        for module in [
            self.double_stream_modulation_img.lin,
            self.double_stream_modulation_txt.lin,
            self.single_stream_modulation.lin,
            self.final_layer.adaLN_modulation[1],
            self.final_layer.linear,
        ]:
            nn.init.zeros_(module.weight)
        nn.init.normal_(self.time_in.in_layer.weight, std=0.02)
        nn.init.normal_(self.time_in.out_layer.weight, std=0.02)
        return self

    def forward(
        self,
        scene,
        degraded,
        references,
        text,
        timesteps,
        grid,
        degraded_grid=None,
        adapter=None,
        anchor=None,
        all_tokens=False,
        origin=(0, 0),
    ):
        """Predicts u for the scene.

        scene [B, S, C] noisy latents, degraded [B, Sd, C], references [B, R, S, C] or None, text [B, L, context],
        timesteps [B] sigma in [0, 1], grid (rows, columns) of the scene, origin of `position_ids`; anchor [B, 512] unit
        vectors or None.
        -> [B, S, C], with all_tokens of all image tokens.
        """
        parts = [scene, degraded]
        count = 0
        if references is not None:
            count = references.shape[1]
            parts.append(references.flatten(1, 2))
        ids = position_ids(grid, text.shape[1], count, degraded_grid, origin).to(scene.device)
        rope = [table.to(scene.dtype) for table in rope_table(ids, self.config.rope_axes, self.config.rope_theta)]

        # Under autocast the layers are bfloat16; the residual stream keeps the type of the latents.
        img = self.img_in(torch.cat(parts, dim=1)).to(scene.dtype)
        txt = self.txt_in(text).to(scene.dtype)
        vec = self.time_in(timesteps)
        mod_img = self.double_stream_modulation_img(vec)[:, None]
        mod_txt = self.double_stream_modulation_txt(vec)[:, None]
        mod_single = self.single_stream_modulation(vec)[:, None]

        memory = None
        if adapter is not None:
            x_deg = img[:, scene.shape[1] : scene.shape[1] + degraded.shape[1]]
            residual, memory = adapter.read_degraded(x_deg, degraded_grid or grid, grid)
            if residual is not None:
                img = torch.cat([img[:, : scene.shape[1]] + residual, img[:, scene.shape[1] :]], dim=1)
            delta_double, delta_single = adapter.deltas(anchor)
            if delta_double is not None:
                mod_img = mod_img + delta_double[:, None]
                # Text keeps the backbone's modulation in single blocks too, so it differs along the sequence there.
                mod_single = torch.cat(
                    [
                        mod_single.expand(-1, txt.shape[1], -1),
                        (mod_single + delta_single[:, None]).expand(-1, img.shape[1], -1),
                    ],
                    dim=1,
                )

        for i, block in enumerate(self.double_blocks):
            img, txt = block(img, txt, mod_img, mod_txt, rope)
            if memory is not None:
                img = adapter.attend(i, img, memory)
        x = torch.cat([txt, img], dim=1)
        for i, block in enumerate(self.single_blocks, self.config.double_blocks):
            x = block(x, mod_single, rope)
            if memory is not None:
                words, image = x.split([txt.shape[1], img.shape[1]], dim=1)
                x = torch.cat([words, adapter.attend(i, image, memory)], dim=1)
        image = x[:, txt.shape[1] :]
        if not all_tokens:
            image = image[:, : scene.shape[1]]
        return self.final_layer(image, vec).to(scene.dtype)


def config_of(tensors, rope_axes, rope_theta):
    """Reads the sizes off the tensors of a checkpoint."""
    hidden, in_channels = tensors["img_in.weight"].shape

    def count(prefix):
        return len({name.split(".")[1] for name in tensors if name.startswith(prefix)})

    doubles, singles = count("double_blocks."), count("single_blocks.")
    mlp = (
        tensors["double_blocks.0.img_mlp.2.weight"].shape[1]
        if doubles
        else tensors["single_blocks.0.linear2.weight"].shape[1] - hidden
    )
    return TransformerConfig(
        in_channels=in_channels,
        context=tensors["txt_in.weight"].shape[1],
        hidden=hidden,
        double_blocks=doubles,
        single_blocks=singles,
        mlp_ratio=mlp / hidden,
        rope_axes=list(rope_axes),
        rope_theta=rope_theta,
    )
