"""Weights as a function of their published names: what the reference outputs in ``tests/golden`` were made with."""

import gzip
import hashlib
import json
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"

# Where the plain rule would give a model that computes nothing worth comparing (OneRef's layouts).
EXCEPTIONS = {
    "*.running_var": lambda x: 0.5 + 50 * np.abs(x),
    "mim_head.weight": lambda x: 20 * x,
    "mim_vts_head.layers.0.weight": lambda x: 400 * x,
    "mlm_sts_head.layers.0.weight": lambda x: 400 * x,
    "encoder.pos_embed": lambda x: 200 * x,
    "decoder.pos_embed": lambda x: 200 * x,
    "quantize.embedding.weight": lambda x: x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True),
}


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
    values = np.asarray(values, dtype=np.float32)
    for pattern, change in EXCEPTIONS.items():
        if fnmatch(name, pattern):
            values = np.asarray(change(values), dtype=np.float32)
            break
    return torch.from_numpy(values)


@cache
def manifest(path):
    """``{name: (shape, dtype)}`` of a published state dict, in its order."""
    with gzip.open(GOLDEN / path, "rt") as file:
        return {name: (tuple(shape), dtype) for name, (shape, dtype) in json.load(file).items()}


def published_state(path):
    """The state dict of a manifest below ``tests/golden``; integers are positions, or counts that stand at 0."""
    return {
        name: fill(name, shape) if dtype == "float32" else _integers(shape)
        for name, (shape, dtype) in manifest(path).items()
    }


def _integers(shape):
    return torch.arange(shape[-1]).expand(shape) if shape else torch.tensor(0)
