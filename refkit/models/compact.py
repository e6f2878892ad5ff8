"""Frozen weights stored in the float type in which they are multiplied."""

from __future__ import annotations

import torch
from torch import nn

_MULTIPLIED = (nn.Linear, nn.Conv2d)
"""Modules whose weights autocast converts at every call."""


def store_as_run(part: nn.Module, dtype: torch.dtype) -> None:
    """Keep what autocast to ``dtype`` would convert anyway converted: half the memory, the same results.

    Only matrices and biases of linear and convolution layers that are frozen now are changed. Norms,
    embeddings and what shares their weights stay, for autocast leaves those in float32.

    Args:
        part: runs under autocast to ``dtype`` only.
        dtype: float16 or bfloat16.
    """
    others = {
        id(parameter)
        for module in part.modules()
        if not isinstance(module, _MULTIPLIED)
        for parameter in module.parameters(recurse=False)
    }
    for module in part.modules():
        if isinstance(module, _MULTIPLIED):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad and id(parameter) not in others:
                    parameter.data = parameter.data.to(dtype)
