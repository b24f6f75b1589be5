"""FLUX.2 [klein]'s transformer in plain PyTorch, written from its equations: what our own is compared with. No adapter."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class Sizes:
    hidden: int = 3072
    width: int = 128  # of a head
    mlp: int = 9216
    doubles: int = 5
    singles: int = 20
    channels: int = 128  # of packed latents
    context: int = 7680  # of text embeddings


KLEIN_4B = Sizes()
TINY = Sizes(hidden=64, width=32, mlp=192, doubles=1, singles=1, channels=16, context=48)


def rope(x, cos, sin):
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((cos * even - sin * odd, sin * even + cos * odd), -1).flatten(-2).to(x.dtype)


def rms_norm(x, scale):
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * scale


def heads(qkv, scale_q, scale_k):
    q, k, v = qkv.unflatten(-1, (3, -1, scale_q.numel())).permute(2, 0, 3, 1, 4)
    return rms_norm(q, scale_q), rms_norm(k, scale_k), v


def by_products(q, k, v):
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    return torch.matmul(torch.softmax(scores, -1), v)


# Versions before 2 have no attention of their own for the CPU.
attention = getattr(F, "scaled_dot_product_attention", by_products)


def linear(inputs, outputs):
    return torch.nn.Linear(inputs, outputs, bias=False)


def modulate(x, shift, scale):
    return (1 + scale) * F.layer_norm(x, x.shape[-1:], eps=1e-6) + shift


class Stream(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.qkv, self.proj = linear(s.hidden, 3 * s.hidden), linear(s.hidden, s.hidden)
        self.up, self.down = linear(s.hidden, 2 * s.mlp), linear(s.mlp, s.hidden)
        self.scale_q, self.scale_k = (torch.nn.Parameter(torch.ones(s.width)) for _ in range(2))

    def mlp(self, x):
        a, b = self.up(x).chunk(2, -1)
        return self.down(F.silu(a) * b)


class DoubleBlock(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.streams = torch.nn.ModuleList([Stream(s), Stream(s)])  # text, image

    def forward(self, xs, modulations, cos, sin):
        """xs: text and image tokens; modulations: shift1, scale1, gate1, shift2, scale2, gate2 of both."""
        parts = [
            heads(s.qkv(modulate(x, *m[:2])), s.scale_q, s.scale_k) for s, x, m in zip(self.streams, xs, modulations)
        ]
        q, k, v = (torch.cat(p, 2) for p in zip(*parts))
        out = attention(rope(q, cos, sin), rope(k, cos, sin), v).transpose(1, 2).flatten(2)
        results = []
        for s, x, a, m in zip(self.streams, xs, out.split([x.shape[1] for x in xs], 1), modulations):
            x = x + m[2] * s.proj(a)
            results.append(x + m[5] * s.mlp(modulate(x, *m[3:5])))
        return results


class SingleBlock(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.parts = [3 * s.hidden, s.mlp, s.mlp]
        self.linear1, self.linear2 = linear(s.hidden, sum(self.parts)), linear(s.hidden + s.mlp, s.hidden)
        self.scale_q, self.scale_k = (torch.nn.Parameter(torch.ones(s.width)) for _ in range(2))

    def forward(self, x, modulation, cos, sin):
        shift, scale, gate = modulation[:3]
        qkv, a, b = self.linear1(modulate(x, shift, scale)).split(self.parts, -1)
        q, k, v = heads(qkv, self.scale_q, self.scale_k)
        out = attention(rope(q, cos, sin), rope(k, cos, sin), v).transpose(1, 2).flatten(2)
        return x + gate * self.linear2(torch.cat((out, F.silu(a) * b), -1))


class Klein(torch.nn.Module):
    """Predicts the flow of image tokens [B, image, channels] given text [B, text, context] and the time, 1 to 0."""

    def __init__(self, s):
        super().__init__()
        self.img_in, self.txt_in = linear(s.channels, s.hidden), linear(s.context, s.hidden)
        self.time_in, self.time_out = linear(256, s.hidden), linear(s.hidden, s.hidden)
        self.modulation_img, self.modulation_txt = linear(s.hidden, 6 * s.hidden), linear(s.hidden, 6 * s.hidden)
        self.modulation_single, self.modulation_final = linear(s.hidden, 3 * s.hidden), linear(s.hidden, 2 * s.hidden)
        self.doubles = torch.nn.ModuleList(DoubleBlock(s) for _ in range(s.doubles))
        self.singles = torch.nn.ModuleList(SingleBlock(s) for _ in range(s.singles))
        self.final = linear(s.hidden, s.channels)

    def forward(self, latents, text, time, cos, sin):
        angles = 1000 * time * torch.exp(-torch.log(torch.tensor(1e4)) * torch.arange(128, device=text.device) / 128)
        vec = torch.cat((torch.cos(angles), torch.sin(angles))).to(text.dtype)
        vec = F.silu(self.time_out(F.silu(self.time_in(vec))))
        txt, img = self.txt_in(text), self.img_in(latents)
        both = [self.modulation_txt(vec).chunk(6), self.modulation_img(vec).chunk(6)]
        for block in self.doubles:
            txt, img = block([txt, img], both, cos, sin)
        x, modulation = torch.cat((txt, img), 1), self.modulation_single(vec).chunk(3)
        for block in self.singles:
            x = block(x, modulation, cos, sin)
        return self.final(modulate(x[:, txt.shape[1] :], *self.modulation_final(vec).chunk(2)))
