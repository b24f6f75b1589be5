"""The golden tensors that the tests compare with: computed in float64 from public code, kept outside the repository."""

import json
import os
import unittest
from pathlib import Path

from iconface import safetensors

ROOT = Path(os.environ.get("ICONFACE_GOLDEN", "../shared/golden"))


def needs(path):
    """Skips a test, saying so, where a golden file is absent."""
    reason = f"NOT COMPARED: {ROOT / path} is absent; set ICONFACE_GOLDEN to the folder of golden files"
    return unittest.skipUnless((ROOT / path).exists(), reason)


class Golden:
    def __init__(self, path):
        self.tensors, self.metadata = safetensors.read(ROOT / path)
        self.config = json.loads(self.metadata["config"])

    def __getitem__(self, name):
        tensor = self.tensors[name]
        return tensor.double() if tensor.is_floating_point() else tensor

    def part(self, prefix):
        """Tensors whose names begin so, without the prefix, in float64."""
        return {n[len(prefix) :]: self[n] for n in self.tensors if n.startswith(prefix)}


def relative_error(output, expected):
    return float((output.double() - expected).norm() / expected.norm())


class GoldenTest(unittest.TestCase):
    """The golden values are rounded to float32, and we compute in float64: only the rounding may differ."""

    def assert_close(self, output, expected, limit=1e-6):
        self.assertEqual(tuple(output.shape), tuple(expected.shape))
        error = relative_error(output, expected)
        self.assertLess(error, limit, f"relative error {error:.2e}")
