"""The adapter: the global identity pathway and the degraded structure pathway (model-specification.md 4 and 5)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from .transformer import attention, layer_norm

SMALLEST_NORM = 1e-12

# The rows of the paper's Table 3: which parts an adapter has. One route has the memory of two in the one.
VARIANTS = {
    "concat": {"identity": False, "residual": False, "memory": False, "detail": False},
    "structure": {"identity": False, "residual": True, "memory": True, "detail": True},
    "identity": {"identity": True, "residual": False, "memory": False, "detail": False},
    "one-route": {"identity": True, "residual": True, "memory": True, "detail": False},
    "full": {"identity": True, "residual": True, "memory": True, "detail": True},
}


@dataclass
class AdapterConfig:
    hidden: int = 192
    heads: int = 6
    blocks: int = 11
    rank: int = 16
    base_tokens: int = 32
    detail_tokens: int = 32
    embedding: int = 512
    identity: bool = True
    residual: bool = True
    residual_strength: float = 1.0
    temperature: float = 1.0


def variant_config(variant, **sizes):
    """The AdapterConfig of a row of Table 3, or None for `concat`. Sizes are those of the full adapter."""
    if variant not in VARIANTS:
        raise ValueError(f"expected {', '.join(VARIANTS)} for variant but received {variant!r}")
    parts = VARIANTS[variant]
    if not any(parts.values()):
        return None
    config = AdapterConfig(**sizes)
    config.identity, config.residual = parts["identity"], parts["residual"]
    if not parts["detail"]:
        config.base_tokens += config.detail_tokens
        config.detail_tokens = 0
    if not parts["memory"]:
        config.base_tokens = 0
    return config


def identity_anchor(raw, temperature=1.0):
    """Eq. 4: raw embeddings [..., R, 512] -> unit anchors [..., 512]; zero where no embedding is usable."""
    norms = raw.norm(dim=-1)
    usable = norms > SMALLEST_NORM
    logits = norms.clamp(min=SMALLEST_NORM).log() / temperature
    weights = logits.masked_fill(~usable, float("-inf")).softmax(-1).nan_to_num(0.0)
    unit = raw / norms.clamp(min=SMALLEST_NORM)[..., None]
    total = (weights[..., None] * unit).sum(-2)
    return total / total.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_NORM)


class LowRank(nn.Module):
    def __init__(self, width, rank):
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)

    def forward(self, x):
        return self.up(self.down(x))


def split_heads(x, heads):
    """[B, tokens, D] -> [B, H, tokens, d]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Pooler(nn.Module):
    """Learned queries read a sequence (Eq. 7)."""

    def __init__(self, tokens, hidden, heads):
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(tokens, hidden))
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x):
        x = layer_norm(x)
        k, v = split_heads(self.key(x), self.heads), split_heads(self.value(x), self.heads)
        q = split_heads(self.queries.expand(x.shape[0], -1, -1), self.heads).to(k.dtype)
        return attention(q, k, v)


class CrossAttention(nn.Module):
    """h += gate Attn(q(LN(h)), k(M), v(M)), every projection of low rank."""

    def __init__(self, hidden, heads, rank):
        super().__init__()
        self.heads = heads
        self.query = LowRank(hidden, rank)
        self.key = LowRank(hidden, rank)
        self.value = LowRank(hidden, rank)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, h, memory):
        q, k, v = self.query(layer_norm(h)), self.key(memory), self.value(memory)
        return h + self.gate * attention(*(split_heads(x, self.heads) for x in (q, k, v)))


def smooth(x, grid):
    """Mean over the valid cells of a 3 x 3 window on the token grid, [B, tokens, D]."""
    maps = x.transpose(1, 2).unflatten(-1, tuple(grid))
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False).flatten(2).transpose(1, 2)


def resize_tokens(x, grid, target):
    """Bilinear over the token grid with half-pixel centres; the identity when the grids agree."""
    if tuple(grid) == tuple(target):
        return x
    maps = x.transpose(1, 2).unflatten(-1, tuple(grid))
    return F.interpolate(maps, size=tuple(target), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


class IdentityPathway(nn.Module):
    """Eq. 5: an anchor becomes what is added to the image stream's modulations."""

    def __init__(self, embedding, hidden):
        super().__init__()
        inner = {"in": nn.Linear(embedding, hidden), "out": nn.Linear(hidden, hidden)}
        self._modules["global"] = nn.ModuleDict(inner)
        # Set past nn.Module's attributes: `double` is a method of every module.
        self._modules["double"] = nn.Linear(hidden, 6 * hidden)
        self._modules["single"] = nn.Linear(hidden, 3 * hidden)

    def initialize(self):
        # The input is a unit vector of 512 values, each of them small.
        nn.init.normal_(self._modules["global"]["in"].weight, std=1.0)
        for name in ("double", "single"):
            nn.init.zeros_(self._modules[name].weight)
            nn.init.zeros_(self._modules[name].bias)

    def forward(self, anchor):
        parts = self._modules
        h = parts["global"]["out"](F.silu(parts["global"]["in"](anchor)))
        return parts["double"](F.silu(h)), parts["single"](F.silu(h))


class Adapter(nn.Module):
    """Its parameters have the names of the specification."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        hidden, heads, rank = config.hidden, config.heads, config.rank
        parts = {}
        if config.residual:
            parts["residual"] = LowRank(hidden, rank)
        if config.base_tokens:
            parts["base"] = Pooler(config.base_tokens, hidden, heads)
            if config.detail_tokens:
                parts["detail"] = Pooler(config.detail_tokens, hidden, heads)
            parts["blocks"] = nn.ModuleList(CrossAttention(hidden, heads, rank) for _ in range(config.blocks))
        self.structure = nn.ModuleDict(parts)
        if config.identity:
            self.identity = IdentityPathway(config.embedding, hidden)

    def initialize(self, gate=0.0):
        """What is added to the backbone starts at zero (or with the given gate), so training starts from the backbone."""
        if self.config.residual:
            nn.init.zeros_(self.structure["residual"].up.weight)
        if self.config.identity:
            self.identity.initialize()
        if self.config.base_tokens:
            for block in self.structure["blocks"]:
                nn.init.constant_(block.gate, gate)
        return self

    def read_degraded(self, x_deg, grid, scene_grid):
        """x_deg [B, Sd, D] -> what the scene gains [B, S, D] or None, and the memory M [B, N, D] or None."""
        parts, config = self.structure, self.config
        residual = memory = None
        if config.residual:
            residual = config.residual_strength * parts["residual"](resize_tokens(x_deg, grid, scene_grid))
        if config.base_tokens:
            routes = [parts["base"](x_deg)]
            if config.detail_tokens:
                routes.append(parts["detail"](x_deg - smooth(x_deg, grid)))
            memory = layer_norm(torch.cat(routes, dim=1).to(x_deg.dtype))
        return residual, memory

    def deltas(self, anchor):
        """Unit anchors [B, 512] -> additions to the image's modulations [B, 6 D] and [B, 3 D]; None without identity."""
        if anchor is None or not self.config.identity:
            return None, None
        return self.identity(anchor)

    def attend(self, block, h, memory):
        """Cross-attention of image tokens [B, N, D] to the memory after the block of that number."""
        return self.structure["blocks"][block](h, memory)


def config_of(tensors, heads, blocks, residual_strength=1.0, temperature=1.0):
    """Reads the sizes off the tensors of an adapter for a backbone of so many heads and blocks; absent parts are off."""

    def size(name, axis, otherwise=0):
        return tensors[name].shape[axis] if name in tensors else otherwise

    hidden = (
        size("identity.global.out.weight", 0)
        or size("structure.residual.down.weight", 1)
        or size("structure.base.queries", 1)
    )
    return AdapterConfig(
        hidden=hidden,
        heads=heads,
        blocks=blocks,
        rank=size("structure.residual.down.weight", 0) or size("structure.blocks.0.query.down.weight", 0, 16),
        base_tokens=size("structure.base.queries", 0),
        detail_tokens=size("structure.detail.queries", 0),
        embedding=size("identity.global.in.weight", 1, 512),
        identity="identity.double.weight" in tensors,
        residual="structure.residual.up.weight" in tensors,
        residual_strength=residual_strength,
        temperature=temperature,
    )
