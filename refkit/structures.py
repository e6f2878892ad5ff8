"""The shapes that cross folder borders: `Frame`, `ReferringSample`, `Features`, `FeatureSizes`, `Prediction`.

Read this file first. Notation: ``K`` targets of a sample, ``H, W`` rows and columns of the current canvas,
``B`` batch, ``N`` visual tokens, ``T`` text tokens, ``C`` channels, ``Q`` regions.

Boxes are ``xyxy`` float pixels (left, top, right, bottom). Outside a model they are pixels of the *original*
image; inside a data pipeline they are pixels of the *current canvas*, and `Frame` leads there and back.
Nothing here imports torch, so that scoring starts at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

STATUSES = ("ok", "unparsable", "refused", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class Frame:
    """Axis-aligned map from pixels of the original image to pixels of the current canvas.

    ``x' = scale[0] * x + shift[0]`` and ``y' = scale[1] * y + shift[1]``; a horizontal flip has a negative
    ``scale[0]``. Every geometric transform composes itself into the frame of its sample, so that a predicted
    box leads back to the original picture without knowing which transforms ran.

    Attributes:
        original: ``(width, height)`` of the original image in pixels.
        canvas: ``(width, height)`` of the current canvas in pixels.
        scale: ``(x, y)`` factors.
        shift: ``(x, y)`` offsets in pixels of the canvas.
    """

    original: tuple[int, int]
    canvas: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def identity(cls, width: int, height: int) -> Frame:
        """The frame of an untouched image."""
        return cls((width, height), (width, height))

    def then(self, scale: tuple[float, float], shift: tuple[float, float], canvas: tuple[int, int]) -> Frame:
        """This frame followed by ``x' = scale * x + shift`` onto a new canvas."""
        return replace(
            self,
            canvas=canvas,
            scale=(self.scale[0] * scale[0], self.scale[1] * scale[1]),
            shift=(self.shift[0] * scale[0] + shift[0], self.shift[1] * scale[1] + shift[1]),
        )

    def to_canvas(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes ``(..., 4)`` in original pixels to canvas pixels, corners in order."""
        return _order_corners(np.asarray(boxes, np.float64) * self._tile(self.scale) + self._tile(self.shift))

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes ``(..., 4)`` in canvas pixels to original pixels, corners in order."""
        return _order_corners(
            (np.asarray(boxes, np.float64) - self._tile(self.shift)) / self._tile(self.scale)
        )

    @staticmethod
    def _tile(pair: tuple[float, float]) -> np.ndarray:
        return np.asarray((*pair, *pair), np.float64)


def _order_corners(boxes: np.ndarray) -> np.ndarray:
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate((np.minimum(low, high), np.maximum(low, high)), axis=-1)


@dataclass(slots=True)
class ReferringSample:
    """One image with one expression (or region) and its zero, one or several targets.

    Attributes:
        id: the record's id; predictions carry it back.
        text: the expression; empty for tasks whose output is text.
        frame: original pixels → pixels of ``image`` and ``boxes``.
        image: ``(H, W, 3)`` uint8 RGB, or None once it has been moved into a batch.
        boxes: ``(K, 4)`` float32 xyxy in canvas pixels; ``K = 0`` is a no-target expression.
        masks: ``(K, H, W)`` bool, or None where the record has none or no transform asked for them.
        categories: ``K`` category names (empty strings where unknown).
        padding: ``(H, W)`` bool, True where the canvas is padding, or None without padding.
        meta: what a metric or a picture needs besides (``image_id``, ``file``, ``object``, ``kind``, …).
        extras: further inputs of the model by name, made by the last transforms. A batch stacks them, so all
            of its samples have the same names and shapes.
    """

    id: str
    text: str
    frame: Frame
    image: np.ndarray | None = None
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    masks: np.ndarray | None = None
    categories: list[str] = field(default_factory=list)
    padding: np.ndarray | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def original_boxes(self) -> np.ndarray:
        """``(K, 4)`` float64 xyxy in pixels of the original image."""
        return self.frame.to_original(self.boxes)


@dataclass(slots=True)
class Features:
    """What a backbone hands to heads. A head names the fields it needs; None means "not provided".

    Attributes:
        visual: ``(B, N, C)`` patch tokens, row-major over ``grid``, no class token.
        visual_mask: ``(B, N)`` bool, True = a token of the image, False = padding.
        grid: ``(rows, columns)`` with ``rows * columns == N``.
        text: ``(B, T, C)`` word tokens.
        text_mask: ``(B, T)`` bool, True = a real token.
        text_end: ``(B,)`` int64 index of the end-of-text token within ``text``.
        query: ``(B, C)`` the sentence: before fusion its embedding (CLIP: the projected end-of-text token),
            after fusion what it became (HiVG: end-of-text token; OneRef: first text token).
        region_token: ``(B, C)`` HiVG's [REG] after fusion.
        image: ``(B, C)`` the whole image.
        sentence: ``(B, C)`` the whole sentence in the same space, before any fusion.
        contrast_scale: factor of the cosine of ``image`` and ``sentence``, the inverse temperature.
        similarity: ``(B, N)`` cosine of the sentence and every patch before fusion, from towers that share a
            space.
        visual_aligned: ``(B, N, C)`` unit vectors of the patches in the space shared with the words.
        text_aligned: ``(B, T, C)`` unit vectors of the words in that space.
        levels: hidden states ``(B, prefix_tokens + N, C_level)`` of chosen backbone blocks, in the order
            they were asked for.
        prefix_tokens: how many tokens stand before the patches in every one of ``levels`` (CLIP: 1, the
            class token).
        text_levels: hidden states ``(B, T, C_text)`` of chosen text blocks.
        regions: ``(B, Q, C)`` region embeddings.
        attention: maps by name, only when asked for.
    """

    visual: Tensor
    visual_mask: Tensor
    grid: tuple[int, int]
    text: Tensor | None = None
    text_mask: Tensor | None = None
    text_end: Tensor | None = None
    query: Tensor | None = None
    region_token: Tensor | None = None
    image: Tensor | None = None
    sentence: Tensor | None = None
    contrast_scale: Tensor | None = None
    similarity: Tensor | None = None
    visual_aligned: Tensor | None = None
    text_aligned: Tensor | None = None
    levels: tuple[Tensor, ...] | None = None
    prefix_tokens: int = 0
    text_levels: tuple[Tensor, ...] | None = None
    regions: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureSizes:
    """What the `Features` of a backbone will look like, known before the first batch: what comes after is
    sized by it.

    Attributes:
        levels: channels of every entry of ``Features.levels``.
        text: channels of ``Features.text``.
        grid: ``(rows, columns)`` of the patch grid.
        prefix_tokens: tokens before the patches in every level.
        context_length: the longest text, in tokens.
    """

    levels: tuple[int, ...]
    text: int
    grid: tuple[int, int]
    prefix_tokens: int
    context_length: int


@dataclass(slots=True)
class Prediction:
    """What a model says about one sample, in pixels of the original image.

    Attributes:
        id: id of the record it answers.
        boxes: ``(K, 4)`` float xyxy, best first; empty = "nothing is meant".
        scores: ``(K,)`` float, or None without scores.
        mask: COCO compressed RLE ``{"size": [height, width], "counts": str}`` of the original image.
        caption: generated text.
        captions: generated texts, one per box (dense captioning).
        tags: probability of every word that fits a region.
        attributes: score per attribute name.
        categories: score per category name.
        no_target: the model's own flag that nothing in the image is meant.
        status: one of `STATUSES`.
        raw: the unparsed answer of a language model.
    """

    id: str
    boxes: np.ndarray | None = None
    scores: np.ndarray | None = None
    mask: dict[str, Any] | None = None
    caption: str | None = None
    captions: list[str] | None = None
    tags: dict[str, float] | None = None
    attributes: dict[str, float] | None = None
    categories: dict[str, float] | None = None
    no_target: bool | None = None
    status: str = "ok"
    raw: str | None = None
