"""LoRA tensors of published checkpoints, merged into the weights they belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from refkit.backbones.state import WeightError

_PAIR = re.compile(r"(?P<layer>.+)\.lora_(?P<side>[AB])\.(?:\w+\.)?weight")


def merge_adapters(state: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """``W + (alpha / rank) B A`` for every layer with adapters; other tensors as they are.

    Args:
        state: ``X.weight`` (also ``X.base_layer.weight``, as newer peft writes), ``X.lora_A….weight (r, in)``
            and ``X.lora_B….weight (out, r)``.
        alpha: LoRA's alpha; the rank is read off the tensors.

    Raises:
        WeightError: half of a pair, or a pair without a base weight (a file of adapters alone).
    """
    plain: dict[str, Tensor] = {}
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        if found := _PAIR.fullmatch(name):
            pairs.setdefault(found["layer"], {})[found["side"]] = value
        else:
            plain[name.replace(".base_layer.", ".")] = value
    for layer, pair in pairs.items():
        _merge_one(plain, layer, pair, alpha)
    return plain


def _merge_one(plain: dict[str, Tensor], layer: str, pair: Mapping[str, Tensor], alpha: float) -> None:
    weight = plain.get(f"{layer}.weight")
    if weight is None:
        raise WeightError(
            f"{layer}: adapters without the weight they adapt; the file holds adapters alone, give the full "
            "checkpoint"
        )
    if len(pair) != 2:
        raise WeightError(f"{layer}: lora_{'B' if 'A' in pair else 'A'} is missing")
    down, up = pair["A"].float(), pair["B"].float()
    if up.shape[1] != len(down) or (len(up), down.shape[1]) != tuple(weight.shape):
        raise WeightError(
            f"{layer}: lora_A {tuple(down.shape)} and lora_B {tuple(up.shape)} do not fit the weight "
            f"{tuple(weight.shape)}"
        )
    plain[f"{layer}.weight"] = (weight.float() + (alpha / len(down)) * (up @ down)).to(weight.dtype)
