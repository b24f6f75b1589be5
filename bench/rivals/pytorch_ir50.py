"""AdaFace's IR-50 by PyTorch, one face of 112 px, random weights, f32; contiguous and channels last, the faster one
counts. Prints a line of JSON.

Usage: python3 pytorch_ir50.py [--threads 2] [--repeat 20]"""

import torch
from torch import nn

from pytorch_common import measure, options, report

STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.shortcut = (
            nn.MaxPool2d(1, stride)
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x):
        return self.shortcut(x) + self.residual(x)


def network():
    layers, width = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)], 64
    for channels, units in STAGES:
        for i in range(units):
            layers.append(Block(width, channels, 2 if i == 0 else 1))
            width = channels
    layers += [nn.BatchNorm2d(width), nn.Dropout(0.4), nn.Flatten(), nn.Linear(width * 49, 512), nn.BatchNorm1d(512)]
    return nn.Sequential(*layers).eval()


def main():
    arguments, _ = options(__doc__, 20)
    runs = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        place = dict(memory_format=memory_format)
        model, x = network().to(**place), torch.randn(1, 3, 112, 112).to(**place)
        runs.append(measure(lambda: model(x), arguments.repeat))
    faster = min(runs, key=lambda seconds: sorted(seconds)[len(seconds) // 2])
    report("face_embedding", "f32", faster, faster.alone, faster.others)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
