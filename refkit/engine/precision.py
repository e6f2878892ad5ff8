"""Which number format a model computes in: float32, or bfloat16 through autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def choose_precision(precision: str, device: torch.device) -> str:
    """The precision behind ``"auto"``: bfloat16 on a CUDA device that has it, float32 elsewhere.

    A CPU stays at float32 unless asked: there published numbers are reproduced to the last digits.

    Args:
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where the model computes.

    Raises:
        ValueError: for any other word.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision: expected one of {', '.join(get_args(Precision))}, got {precision!r}.")
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" and computes_bfloat16(device) else "float32"


def computing_in(precision: str, device: torch.device) -> AbstractContextManager:
    """The context in which a model's forward pass computes in ``"float32"`` or ``"bfloat16"``."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
