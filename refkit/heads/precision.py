"""The float type that a head computes in, whatever the rest of the model does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

_TYPES = {"float32": None, "bfloat16": torch.bfloat16}


class Precision:
    """``float32`` leaves a head as it is called, ``bfloat16`` runs it under autocast.

    Args:
        name: one of the two.

    Raises:
        ValueError: another name.
    """

    def __init__(self, name: str) -> None:
        if name not in _TYPES:
            raise ValueError(f"precision={name!r}; expected one of {', '.join(_TYPES)}")
        self.dtype = _TYPES[name]

    def autocast(self, example: Tensor) -> AbstractContextManager[None]:
        """On the device of ``example``."""
        return torch.autocast(example.device.type, self.dtype) if self.dtype else nullcontext()
