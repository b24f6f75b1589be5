"""PNG files without any library: sample grids and plots of the losses."""

import struct
import zlib

import numpy as np

COLOURS = [(31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207)]


def write_png(path, pixels):
    """[H, W, 3] uint8"""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 6)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def grid(rows, gap=4):
    """Rows of equally large [S, S, 3] uint8 pictures, None where one is absent -> one picture."""
    side = next(p.shape[0] for row in rows for p in row if p is not None)
    columns = max(len(row) for row in rows)
    out = np.full((len(rows) * (side + gap) + gap, columns * (side + gap) + gap, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            if picture is not None:
                top, left = gap + y * (side + gap), gap + x * (side + gap)
                out[top : top + side, left : left + side] = picture
    return out


def plot(curves, width=720, height=360, margin=12):
    """Curves {name: values} -> a picture, one colour each in the order of COLOURS, smoothed, on a logarithmic axis."""
    out = np.full((height, width, 3), 255, np.uint8)
    curves = {n: smooth(np.asarray(v, float)) for n, v in curves.items() if len(v) > 1 and np.nanmax(v) > 0}
    if not curves:
        return out
    everything = np.concatenate([v[v > 0] for v in curves.values()])
    low, high = np.log(everything.min()), np.log(everything.max() * 1.0001)
    for decade in range(-8, 9):
        for step in range(1, 10):
            y = (high - np.log(step * 10.0**decade)) / (high - low)
            if 0 <= y <= 1:
                out[margin + int(y * (height - 2 * margin - 1))] = 170 if step == 1 else 235
    for colour, values in zip(COLOURS, curves.values()):
        x = np.linspace(margin, width - margin - 1, 4 * width)
        at = np.interp(np.linspace(0, len(values) - 1, len(x)), np.arange(len(values)), values)
        y = (high - np.log(np.maximum(at, np.exp(low)))) / (high - low) * (height - 2 * margin - 1) + margin
        for offset in (0, 1):
            out[y.astype(int) + offset - 1, x.astype(int)] = colour
    return out


def smooth(values):
    """A running mean over a fiftieth of the curve; gaps (NaN) are filled with what came before."""
    filled = np.interp(np.arange(len(values)), np.flatnonzero(~np.isnan(values)), values[~np.isnan(values)])
    window = max(1, len(values) // 50)
    sums = np.cumsum(np.concatenate([[0], filled]))
    return (sums[window:] - sums[:-window]) / window
