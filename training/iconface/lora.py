"""LoRA on linear layers: `<module>.lora_A.weight` [r, in] and `<module>.lora_B.weight` [out, r] beside the frozen weight."""

import re

import torch
from torch import nn

TARGETS = ("img_attn.qkv", "img_attn.proj", "linear1", "linear2")


class LoraLinear(nn.Linear):
    """A linear layer of which only the low-rank addition (alpha / r) B A is trained."""

    def __init__(self, base, rank, alpha):
        out, into = base.weight.shape
        super().__init__(1, 1, bias=False)
        self.in_features, self.out_features = into, out
        self.weight, self.bias = base.weight, base.bias
        self.factor = alpha / rank
        self.lora_A = nn.Linear(into, rank, bias=False)
        self.lora_B = nn.Linear(rank, out, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return super().forward(x) + self.factor * self.lora_B(self.lora_A(x.to(self.lora_A.weight.dtype)))


def add_lora(model, rank=16, alpha=None, targets=TARGETS):
    """Replaces every target of a transformer by a LoraLinear around the same weight; returns their names.

    Raises ValueError when a target matches no module.
    """
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(name.endswith("." + target) for target in targets)
    ]
    for target in targets:
        if not any(name.endswith("." + target) for name in names):
            raise ValueError(f"expected the name of a linear layer for targets but received {target!r}")
    for name in names:
        parent, _, child = name.rpartition(".")
        module = model.get_submodule(parent)
        setattr(module, child, LoraLinear(getattr(module, child), rank, rank if alpha is None else alpha))
    return names


def lora_tensors(model):
    """The trained matrices and alphas of a transformer with LoRA, as they are stored."""
    tensors = {n: t for n, t in model.state_dict().items() if re.search(r"\.lora_[AB]\.weight$", n)}
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            tensors[f"{name}.alpha"] = torch.tensor(module.factor * module.lora_A.weight.shape[0])
    return tensors


def merge(tensors, lora, strength=1.0):
    """W += strength (alpha / r) B A in float32, for backbone tensors under their plain names. Changes `tensors`."""
    for name, a in lora.items():
        match = re.fullmatch(r"(.+)\.lora_A\.weight", name)
        if not match:
            continue
        module = match[1]
        b, rank = lora[f"{module}.lora_B.weight"], a.shape[0]
        alpha = float(lora.get(f"{module}.alpha", rank))
        weight = tensors[f"{module}.weight"]
        merged = weight.float() + strength * alpha / rank * (b.float() @ a.float())
        tensors[f"{module}.weight"] = merged.to(weight.dtype)
