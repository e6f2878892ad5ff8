"""The way research loops run a grounding model: the yardstick for refkit's own speed.

The same modules with the same weights, but eager attention whose maps are kept and handed back, texts padded
to the full context, every head computed in evaluation too, transposed convolutions one by one, adapters left
unmerged, every intermediate result kept for the way back, and every loss read by the host after each step.
All of it in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refkit.backbones import activation, grounding, hilora
from refkit.heads import MaskHead
from refkit.structures import Features

_ABSENT = object()


@contextmanager
def research_style(model: nn.Module) -> Iterator[list[Tensor]]:
    """Run ``model`` as research loops do while the context lasts; gives the list that collects maps."""
    maps: list[Tensor] = []
    preprocessor: Any = getattr(model, "data_preprocessor", None)
    with ExitStack() as stack:
        stack.enter_context(_replaced(F, "scaled_dot_product_attention", _collecting(maps)))
        stack.enter_context(_replaced(grounding, "without_trailing_padding", lambda features: features))
        stack.enter_context(_replaced(activation.QuickGELU, "forward", _quick_gelu))
        for owner in (grounding, hilora):
            stack.enter_context(_replaced(owner, "recomputed", _kept))
        if getattr(preprocessor, "trim_text", False):
            stack.enter_context(_replaced(preprocessor, "trim_text", False))
        for module in model.modules():
            if isinstance(module, MaskHead):
                forward = MethodType(_convolve, module)
                stack.enter_context(_replaced(module, "forward", forward))
        yield maps


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    own = vars(owner).get(name, _ABSENT)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _quick_gelu(_: nn.Module, inner: Tensor) -> Tensor:
    """As transformers writes it; autograd keeps both factors."""
    return inner * torch.sigmoid(1.702 * inner)


def _kept(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Nothing is computed twice, all is kept for the way back."""
    return function(*inputs)


def _collecting(maps: list[Tensor]) -> Any:
    """Attention as written in a textbook, with its map kept."""

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        logits = query * (scale or query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if is_causal:
            attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if attn_mask is not None:
            logits = (
                logits.masked_fill(~attn_mask, -torch.inf)
                if attn_mask.dtype == torch.bool
                else logits + attn_mask
            )
        weights = logits.softmax(dim=-1)
        maps.append(weights)
        return F.dropout(weights, dropout_p) @ value

    return attend


def _convolve(head: MaskHead, features: Features) -> Tensor:
    """Mask logits of `MaskHead` by its convolutions, pixel by pixel."""
    assert features.query is not None
    pixels = features.visual.transpose(1, 2).unflatten(2, features.grid)
    for layer in head.convolutions:
        pixels = layer(pixels)
    sentence = F.normalize(features.query.float(), dim=-1)[:, :, None, None]
    return (sentence * pixels).sum(dim=1, keepdim=True)
