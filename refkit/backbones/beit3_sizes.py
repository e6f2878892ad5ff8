"""How large a BEiT-3 is: explicit numbers, or the name of a published model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any


class BEiT3SizeError(ValueError):
    """Sizes that do not describe a BEiT-3, or a name that nothing knows."""


@dataclass(frozen=True, slots=True)
class BEiT3Size:
    """All numbers that a BEiT-3 is built from.

    Attributes:
        width, layers, heads: of the transformer; both branches have the same.
        feedforward: inner width of the perceptrons, four times the width unless given.
        image_size, patch_size: side of the square input and of a patch, in pixels.
        vocab_size: rows of the word table (64002 ids are in use, the rest are spare).
        context_length: longest text, in tokens.
        text_positions: rows of the text's position table, the two unused ones included.
        position_std: deviation of position tables at random initialisation; published: 1.
        linear_std: deviation of the weights of linear layers at random initialisation, cut at one deviation;
            published: 0.02 for widths of 768 and 1024. A narrow model needs more, in proportion to
            ``width ** -0.5``, or its attention stays flat and its cosines jump from step to step.
        smooth_positions: at random initialisation, positions of patches are sines and cosines of row and
            column, of deviation ``position_std``, so that neighbours are alike, as trained tables come to be.
            Not in BEiT-3.
    """

    width: int
    layers: int
    heads: int
    feedforward: int = 0
    image_size: int = 384
    patch_size: int = 16
    vocab_size: int = 64010
    context_length: int = 64
    text_positions: int = 1024
    position_std: float = 1.0
    linear_std: float = 0.02
    smooth_positions: bool = False

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise BEiT3SizeError(f"width {self.width} cannot be split over {self.heads} heads")
        if self.image_size % self.patch_size:
            raise BEiT3SizeError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.context_length + POSITION_OFFSET > self.text_positions:
            raise BEiT3SizeError(
                f"context_length {self.context_length} needs {self.context_length + POSITION_OFFSET} text "
                f"positions, there are {self.text_positions}"
            )
        if not self.feedforward:
            object.__setattr__(self, "feedforward", 4 * self.width)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patch grid."""
        side = self.image_size // self.patch_size
        return side, side


POSITION_OFFSET = 2
"""Token ``t`` uses row ``t + 2`` of its position table (fairseq's convention); rows 0 and 1 are unused."""

PUBLISHED = {
    "base": BEiT3Size(width=768, layers=12, heads=12),
    "large": BEiT3Size(width=1024, layers=24, heads=16),
}


def beit3_size(size: str | Mapping[str, Any] | BEiT3Size, image_size: int | None = None) -> BEiT3Size:
    """Sizes from numbers or a name.

    Args:
        size: ``base``, ``large``, a mapping of `BEiT3Size`'s fields, or the sizes themselves.
        image_size: another square input in pixels.

    Raises:
        BEiT3SizeError: unknown name or field, or numbers that do not fit each other.
    """
    if isinstance(size, Mapping):
        known = [field.name for field in fields(BEiT3Size)]
        if unknown := sorted(set(size) - set(known)):
            raise BEiT3SizeError(f"size of BEiT-3: unknown {', '.join(unknown)}; known: {', '.join(known)}")
        try:
            resolved = BEiT3Size(**size)
        except TypeError as error:
            raise BEiT3SizeError(f"size of BEiT-3: {str(error).partition(' ')[2]}") from error
    elif isinstance(size, BEiT3Size):
        resolved = size
    elif size in PUBLISHED:
        resolved = PUBLISHED[size]
    else:
        raise BEiT3SizeError(f"no BEiT-3 {size!r}; published: {', '.join(PUBLISHED)}, or give numbers")
    return resolved if image_size is None else replace(resolved, image_size=image_size)
