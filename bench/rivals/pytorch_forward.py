"""One FLUX.2 [klein] 4B transformer forward of 1,024 tokens by PyTorch: a double and a single block of the full size on
random data, 5 x the median of one + 20 x the median of the other. Input and output layers (0.4 % of the work), the
adapter and the position tables are not counted. Prints a line of JSON per precision.

Usage: python3 pytorch_forward.py [--threads 2] [--repeat 5] [--precision f32|bf16]"""

import torch
import torch.nn.functional as F

from pytorch_common import measure, options, report

HIDDEN, HEADS, WIDTH, MLP = 3072, 24, 128, 9216
TEXT, IMAGE = 512, 512


def rope(x, cos, sin):
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((cos * even - sin * odd, sin * even + cos * odd), -1).flatten(-2).to(x.dtype)


def rms_norm(x, scale):
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * scale


def heads(qkv, scale_q, scale_k):
    q, k, v = qkv.unflatten(-1, (3, HEADS, WIDTH)).permute(2, 0, 3, 1, 4)
    return rms_norm(q, scale_q), rms_norm(k, scale_k), v


def by_products(q, k, v):
    scores = torch.matmul(q * WIDTH**-0.5, k.transpose(-2, -1))
    return torch.matmul(torch.softmax(scores, -1), v)


# Versions before 2 have no attention of their own for the processor.
attention = getattr(F, "scaled_dot_product_attention", by_products)


class Stream(torch.nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.qkv, self.proj = linear(HIDDEN, 3 * HIDDEN), linear(HIDDEN, HIDDEN)
        self.up, self.down = linear(HIDDEN, 2 * MLP), linear(MLP, HIDDEN)
        self.scale_q, self.scale_k = (torch.nn.Parameter(torch.ones(WIDTH)) for _ in range(2))

    def mlp(self, x):
        a, b = self.up(x).chunk(2, -1)
        return self.down(F.silu(a) * b)


class DoubleBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.streams = torch.nn.ModuleList([Stream(), Stream()])  # text, image

    def forward(self, xs, modulation, cos, sin):
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation
        norm = lambda x, scale, shift: (1 + scale) * F.layer_norm(x, (HIDDEN,), eps=1e-6) + shift
        parts = [heads(s.qkv(norm(x, scale1, shift1)), s.scale_q, s.scale_k) for s, x in zip(self.streams, xs)]
        q, k, v = (torch.cat(p, 2) for p in zip(*parts))
        out = attention(rope(q, cos, sin), rope(k, cos, sin), v).transpose(1, 2).flatten(2)
        results = []
        for s, x, a in zip(self.streams, xs, out.split([TEXT, IMAGE], 1)):
            x = x + gate1 * s.proj(a)
            results.append(x + gate2 * s.mlp(norm(x, scale2, shift2)))
        return results


class SingleBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = torch.nn.Linear(HIDDEN, 3 * HIDDEN + 2 * MLP, bias=False)
        self.linear2 = torch.nn.Linear(HIDDEN + MLP, HIDDEN, bias=False)
        self.scale_q, self.scale_k = (torch.nn.Parameter(torch.ones(WIDTH)) for _ in range(2))

    def forward(self, x, modulation, cos, sin):
        shift, scale, gate = modulation[:3]
        y = self.linear1((1 + scale) * F.layer_norm(x, (HIDDEN,), eps=1e-6) + shift)
        qkv, a, b = y.split([3 * HIDDEN, MLP, MLP], -1)
        q, k, v = heads(qkv, self.scale_q, self.scale_k)
        out = attention(rope(q, cos, sin), rope(k, cos, sin), v).transpose(1, 2).flatten(2)
        return x + gate * self.linear2(torch.cat((out, F.silu(a) * b), -1))


def main():
    arguments, dtypes = options(__doc__)
    for name, dtype in dtypes:
        tokens = TEXT + IMAGE
        cos, sin = torch.randn(tokens, WIDTH // 2), torch.randn(tokens, WIDTH // 2)
        modulation = [torch.randn(HIDDEN).mul(0.1).to(dtype) for _ in range(6)]
        double, single = DoubleBlock().to(dtype), SingleBlock().to(dtype)
        streams = [torch.randn(1, n, HIDDEN).to(dtype) for n in (TEXT, IMAGE)]
        x = torch.randn(1, tokens, HIDDEN).to(dtype)
        doubles = measure(lambda: double(streams, modulation, cos, sin), arguments.repeat)
        singles = measure(lambda: single(x, modulation, cos, sin), arguments.repeat)
        seconds = [5 * d + 20 * s for d, s in zip(sorted(doubles), sorted(singles))]
        report("forward", name, seconds, 5 * doubles.alone + 20 * singles.alone, max(doubles.others, singles.others))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
