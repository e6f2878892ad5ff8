"""State of the random generators: captured, restored, shielded; and the deterministic mode.

A state is made of tensors and plain numbers only, so that it can live in a checkpoint that loads with
``weights_only=True``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture() -> dict[str, Any]:
    """The state of Python's, numpy's, torch's and (where there is one) every CUDA device's generator."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": {"version": version, "state": torch.tensor(internal, dtype=torch.int64), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(state: dict[str, Any]) -> None:
    """Put the generators into a captured state.

    Args:
        state: what `capture` gave; its tensors may lie on any device.
    """
    python, legacy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["state"].tolist()), python["gauss"]))
    keys = legacy["keys"].cpu().numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002
        (legacy["name"], keys, legacy["position"], legacy["has_gauss"], legacy["cached"])
    )
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([device.cpu() for device in state["cuda"]])


@contextmanager
def shielded() -> Iterator[None]:
    """Whatever draws random numbers inside leaves the generators as they were before."""
    state = capture()
    try:
        yield
    finally:
        restore(state)


def seed_all(seed: int) -> None:
    """Seed Python's, numpy's, torch's and every CUDA device's generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)


def prepare_deterministic() -> None:
    """Set what cuBLAS needs for reproducible sums; must run before CUDA starts (torch checks it later)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
