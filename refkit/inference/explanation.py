"""What a grounding model looked at: attention of [REG] over picture and words, similarity of every patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from refkit.data.collate import collate
from refkit.inference.inferencer import Inferencer
from refkit.inference.question import Picture
from refkit.structures import Features, Frame, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

_GROUNDING = "grounding."


class ExplanationError(ValueError):
    """A model that cannot be asked what it looked at."""


@dataclass(frozen=True, slots=True)
class PatchMap:
    """One number per patch of the model's canvas, and the way from there to the original picture.

    Attributes:
        values: ``(rows, columns)`` float32, row-major as the patches.
        shown: ``(rows, columns)`` bool, False where a patch is padding.
        frame: original picture → canvas.
    """

    values: np.ndarray
    shown: np.ndarray
    frame: Frame

    def over(self, width: int, height: int) -> np.ndarray:
        """The map over the original picture scaled to ``width x height``: ``(height, width)`` float32.

        Bilinear between the centres of patches. Padding is left out of the average (normalised convolution),
        so that it neither shows nor darkens the patches beside it.
        """
        known = self._resampled(self.shown.astype(np.float32), width, height)
        filled = self._resampled(np.where(self.shown, self.values, 0).astype(np.float32), width, height)
        return np.where(known > 1e-3, filled / np.maximum(known, 1e-3), 0).astype(np.float32)

    def _resampled(self, grid: np.ndarray, width: int, height: int) -> np.ndarray:
        rows, columns = grid.shape
        # One cell more on every side: Pillow interpolates nothing beyond the outermost centres.
        padded = Image.fromarray(np.pad(grid, 1, mode="edge"))
        along = [
            (
                self.frame.scale[axis] * self.frame.original[axis] / size * cells / self.frame.canvas[axis],
                self.frame.shift[axis] * cells / self.frame.canvas[axis] + 1,
            )
            for axis, (size, cells) in enumerate(((width, columns), (height, rows)))
        ]
        coefficients = (along[0][0], 0, along[0][1], 0, along[1][0], along[1][1])
        method = Image.Transform.AFFINE
        return np.asarray(
            padded.transform((width, height), method, coefficients, Image.Resampling.BILINEAR), np.float32
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer with what led to it.

    Attributes:
        image: RGB, the original picture.
        text: the expression.
        prediction: in pixels of ``image``.
        layers: attention of [REG] to every patch, mean over the heads of one grounding layer, first to last;
            all of a layer's attention, words included, sums to 1.
        words: ``(word, share)``, attention of [REG] to every word of the text in the last grounding layer.
        shares: attention of [REG] in the last layer to ``itself``, ``prefix``, ``patches``, ``words``; sums
            to 1.
        region_text: similarity of the sentence with every patch after fusion (RTCC logits through a sigmoid,
            HiVG section 3.4); None where the model has no such head.
        similarity: cosine of the sentence and every patch before fusion; None where the towers do not share a
            space or were not asked for it.
    """

    image: Image.Image
    text: str
    prediction: Prediction
    layers: tuple[PatchMap, ...]
    words: tuple[tuple[str, float], ...]
    shares: dict[str, float] = field(default_factory=dict)
    region_text: PatchMap | None = None
    similarity: PatchMap | None = None


def explain(inferencer: Inferencer, image: Picture, text: str) -> Explanation:
    """Answer a question and show what the model looked at.

    Args:
        inferencer: of a model with a grounding encoder, from `load_model`.
        image: a file, a PIL image, or ``(H, W, 3)`` uint8 RGB.
        text: the expression.

    Raises:
        ExplanationError: the model has no grounding encoder that shows its attention.
        ImageError: the file is missing or cannot be read.
        QuestionError: the sentence is empty or the pixels have another shape or type.
    """
    picture, sample = inferencer.prepare(image, text)
    model: Any = inferencer.model
    if not hasattr(model, "features"):
        raise ExplanationError(_refusal(model))
    prediction = inferencer.predict_batch([sample])[0]
    with inferencer.inference():
        inputs = model.data_preprocessor(collate([sample]))["inputs"]
        features = model.features(inputs, attention=True)
        named = _head_tensors(model, features)
    rows = _rows_of_region_token(features)
    if not rows:
        raise ExplanationError(_refusal(model))
    parts = _Parts(features, sample.frame)
    spelled = model.data_preprocessor.tokenizer.spell(inputs["token_ids"][0].tolist())
    logits = named.get("rtcc_logits")
    return Explanation(
        Image.fromarray(picture),
        text,
        prediction,
        tuple(parts.map(row[parts.patches]) for row in rows),
        _by_word(spelled, rows[-1][parts.words]),
        parts.shares(rows[-1]),
        None if logits is None else parts.map(_plain(logits.sigmoid())),
        None if features.similarity is None else parts.map(_plain(features.similarity)),
    )


class _Parts:
    """Where patches and words stand in the sequence ``[REG; prefix; patches; words]`` of one sample."""

    def __init__(self, features: Features, frame: Frame) -> None:
        first = 1 + features.prefix_tokens
        end = first + features.visual_mask.shape[1]
        self.prefix, self.patches, self.words = slice(1, first), slice(first, end), slice(end, None)
        self._shown = features.visual_mask[0].cpu().numpy().reshape(features.grid)
        self._frame = frame

    def map(self, values: np.ndarray) -> PatchMap:
        return PatchMap(values.reshape(self._shown.shape), self._shown, self._frame)

    def shares(self, row: np.ndarray) -> dict[str, float]:
        named = {"prefix": self.prefix, "patches": self.patches, "words": self.words}
        return {"itself": float(row[0])} | {name: float(row[part].sum()) for name, part in named.items()}


def _head_tensors(model: Any, features: Features) -> dict[str, Tensor]:
    """What the heads say that were trained; one left out of the last stage knows nothing."""
    named: dict[str, Tensor] = {}
    for name, head in model.heads.items():
        if f"heads.{name}" not in model.without:
            named.update(head.tensors(features))
    return named


def _rows_of_region_token(features: Features) -> list[np.ndarray]:
    """What [REG] attends to in every grounding layer, ``(L,)`` float32 each, mean over the heads."""
    names: Mapping[str, Tensor] = {
        name: value for name, value in features.attention.items() if name.startswith(_GROUNDING)
    }
    ordered = sorted(names, key=lambda name: int(name.removeprefix(_GROUNDING)))
    return [_plain(names[name][:, :, 0].float().mean(dim=1)) for name in ordered]


def _by_word(spelled: Sequence[tuple[str, int]], row: np.ndarray) -> tuple[tuple[str, float], ...]:
    ends = np.cumsum([count for _, count in spelled])
    pieces = np.split(row, ends)
    return tuple((word, float(piece.sum())) for (word, _), piece in zip(spelled, pieces, strict=False))


def _plain(values: Tensor) -> np.ndarray:
    return values[0].float().cpu().numpy()


def _refusal(model: torch.nn.Module) -> str:
    return (
        f"{type(model).__name__} has no grounding encoder whose attention could be shown; explain a model "
        "that has one, such as HiVG."
    )
