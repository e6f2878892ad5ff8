"""Networks that a model consults and never trains, and the pixels that they look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from refkit.backbones.inputs import InputError
from refkit.registry import MODELS


class Frozen:
    """A network beside a model.

    No module on purpose: its weights come from a file of their own, belong to no checkpoint, are not
    averaged, synchronised or counted, and it stays in evaluation mode and float32 whatever happens to
    the model.

    Args:
        config: of the network.

    Attributes:
        module: the network.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.module: Any = MODELS.build(dict(config)).eval().requires_grad_(False)

    def on(self, device: torch.device) -> Any:
        """The network, on a device; it stays there."""
        return self.module.to(device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        """Copies of a model (for averaged weights) share it: nothing in it changes."""
        return self


def frozen(config: Mapping[str, Any] | None) -> Frozen | None:
    """`Frozen`, or None of None."""
    return None if config is None else Frozen(config)


def raw_pixels(inputs: Mapping[str, Tensor], preprocessor: nn.Module | None) -> Tensor:
    """Canvases ``(B, 3, H, W)`` float32 in [0, 1], padding 0, as before they were normalised.

    Args:
        inputs: of a model: ``pixels``, which are returned as they are, or else ``images``, and ``padding``
            and ``image_index`` where there are some.
        preprocessor: knows ``mean`` and ``std`` of the normalisation, which is undone to the byte.

    Raises:
        InputError: there are no ``pixels``, and nothing tells how ``images`` were normalised.
    """
    if "pixels" in inputs:
        return inputs["pixels"]
    mean, std = (getattr(preprocessor, name, None) for name in ("mean", "std"))
    if mean is None or std is None:
        raise InputError(
            "the visual tokenizer needs pixels: give the model a ReferringPreprocessor, or inputs['pixels']"
        )
    with torch.autocast(inputs["images"].device.type, enabled=False):
        pixels = ((inputs["images"].float() * std + mean) * 255).round().clamp(0, 255) / 255
    if (padding := inputs.get("padding")) is not None:
        pixels = pixels.masked_fill(padding.bool()[:, None], 0.0)
    return pixels if (index := inputs.get("image_index")) is None else pixels[index]
