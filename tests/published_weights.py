"""Weights as a function of their published names: what the reference outputs in ``tests/golden`` were made with."""

import gzip
import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"


def fill(name, shape):
    """N(0, 1 / fan_in) for matrices, 1 + 0.05 N for norm scales, 0.02 N for the rest, seeded by the name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    if len(shape) >= 2:
        values = noise / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1.0 + 0.05 * noise
    else:
        values = 0.02 * noise
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@cache
def manifest(path):
    """``{name: (shape, dtype)}`` of a published state dict, in its order."""
    with gzip.open(GOLDEN / path, "rt") as file:
        return {name: (tuple(shape), dtype) for name, (shape, dtype) in json.load(file).items()}


def published_state(path):
    """The state dict of a manifest below ``tests/golden``."""
    return {
        name: fill(name, shape) if dtype == "float32" else torch.arange(shape[-1]).expand(shape)
        for name, (shape, dtype) in manifest(path).items()
    }
