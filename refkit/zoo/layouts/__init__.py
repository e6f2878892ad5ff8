"""Published checkpoint layouts: one module per family turns a released file into a refkit model.

A layout module has ``convert(state, options) -> (config, state)``; a new one is a line in `LAYOUTS`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from refkit.backbones.state import WeightError

LAYOUTS = ("hivg", "hivg_clip", "beit3", "oneref", "vqkd", "dynrefer", "blip2")


def import_published(
    layout: str, state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of a refkit model from the tensors of a released checkpoint.

    Args:
        layout: one of `LAYOUTS`.
        state: tensors by their published names.
        options: of the layout, see its module's ``convert``.

    Returns:
        ``{"model": …, "pipeline": …}`` as plain values, and the state dict of that model. Names and shapes
        have been compared with the model's.

    Raises:
        WeightError: unknown layout or option; missing or unknown tensors and wrong shapes, all listed.
    """
    if layout not in LAYOUTS:
        raise WeightError(f"layout {layout!r}; known: {', '.join(LAYOUTS)}")
    convert = importlib.import_module(f"refkit.zoo.layouts.{layout}").convert
    known = list(inspect.signature(convert).parameters)[1:]
    if unknown := sorted(set(options) - set(known)):
        raise WeightError(
            f"layout {layout!r} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}"
        )
    return convert(state, **options)
