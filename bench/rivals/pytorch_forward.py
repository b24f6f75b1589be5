"""One FLUX.2 [klein] 4B transformer forward of 1,024 tokens by PyTorch: a double and a single block of the full size on
random data, 5 x the median of one + 20 x the median of the other. Input and output layers (0.4 % of the work), the
adapter and the position tables are not counted. Prints a line of JSON per precision.

Usage: python3 pytorch_forward.py [--threads 2] [--repeat 5] [--precision f32|bf16]"""

import torch

from klein_blocks import KLEIN_4B, DoubleBlock, SingleBlock
from pytorch_common import measure, options, report

TEXT, IMAGE = 512, 512


def main():
    arguments, dtypes = options(__doc__)
    for name, dtype in dtypes:
        tokens = TEXT + IMAGE
        cos, sin = torch.randn(tokens, KLEIN_4B.width // 2), torch.randn(tokens, KLEIN_4B.width // 2)
        modulation = [torch.randn(KLEIN_4B.hidden).mul(0.1).to(dtype) for _ in range(6)]
        double, single = DoubleBlock(KLEIN_4B).to(dtype), SingleBlock(KLEIN_4B).to(dtype)
        streams = [torch.randn(1, n, KLEIN_4B.hidden).to(dtype) for n in (TEXT, IMAGE)]
        x = torch.randn(1, tokens, KLEIN_4B.hidden).to(dtype)
        doubles = measure(lambda: double(streams, [modulation, modulation], cos, sin), arguments.repeat)
        singles = measure(lambda: single(x, modulation, cos, sin), arguments.repeat)
        seconds = [5 * d + 20 * s for d, s in zip(sorted(doubles), sorted(singles))]
        report("forward", name, seconds, 5 * doubles.alone + 20 * singles.alone, max(doubles.others, singles.others))


if __name__ == "__main__":
    with torch.inference_mode():
        main()
