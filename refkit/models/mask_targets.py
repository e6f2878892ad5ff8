"""What Mask Referring Modeling has to predict, made from the pixels by networks that are never trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_convert

from refkit.backbones.code_cache import CacheCounts, CachedCodes
from refkit.backbones.inputs import InputError
from refkit.backbones.vqkd import VQKD
from refkit.heads.box import to_canvas_units
from refkit.heads.mask_referring import PatchTargets, WordTargets
from refkit.losses.mask_referring import visual_relation
from refkit.models.frozen import Frozen, frozen
from refkit.structures import ReferringSample


class TargetMaker:
    """Visual tokenizer and relation teacher, both `Frozen`.

    Args:
        visual_tokenizer: config of a `VQKD`, or None where no head hides patches.
        relation_teacher: config of a `RelationTeacher`, or None.
        code_cache: folder of codes already computed, see `CachedCodes`; None = compute them every time.
    """

    def __init__(
        self,
        visual_tokenizer: Mapping[str, Any] | None,
        relation_teacher: Mapping[str, Any] | None = None,
        code_cache: str | Path | None = None,
    ) -> None:
        self._tokenizer = frozen(visual_tokenizer)
        self._teacher = frozen(relation_teacher)
        self._cached = None
        if code_cache is not None and self._tokenizer is not None:
            self._cached = CachedCodes(self._tokenizer.module, code_cache)

    @property
    def code_count(self) -> int | None:
        """Entries of the codebook, or None without a visual tokenizer."""
        return None if self._tokenizer is None else self._tokenizer.module.size.codes

    @property
    def has_teacher(self) -> bool:
        """Whether semantic relation scores can be computed."""
        return self._teacher is not None

    @property
    def cache_counts(self) -> CacheCounts | None:
        """Of the code cache, or None without one."""
        return None if self._cached is None else self._cached.counts

    def codes(self, pixels: Tensor) -> Tensor:
        """Codes ``(B, N)`` int64 of ``pixels (B, 3, H, W)`` in [0, 1]."""
        if self._tokenizer is None:
            raise ValueError("patches are hidden, but no visual_tokenizer is there to say what they were")
        tokenizer: VQKD = self._tokenizer.on(pixels.device)
        return tokenizer.codes(pixels) if self._cached is None else self._cached(pixels)

    def patches(
        self,
        inputs: Mapping[str, Tensor],
        pixels: Tensor,
        samples: Sequence[ReferringSample],
        grid: tuple[int, int],
    ) -> PatchTargets:
        """Targets of the patches that ``inputs["patch_masked"] (B, N)`` hides.

        Raises:
            InputError: the visual tokenizer divides the picture into another number of patches.
        """
        masked, codes = required(inputs, "patch_masked").bool(), self.codes(pixels)
        if codes.shape != masked.shape:
            raise InputError(
                f"the visual tokenizer gives {codes.shape[1]} codes per picture, but {masked.shape[1]} "
                "patches can be hidden: its patch_size must be the backbone's"
            )
        boxes = to_canvas_units(samples, pixels.device)
        return PatchTargets(masked, codes, visual_relation(boxes, grid))

    def words(
        self,
        inputs: Mapping[str, Tensor],
        pixels: Tensor | None,
        samples: Sequence[ReferringSample],
        text_mask: Tensor,
    ) -> WordTargets:
        """Targets of the words that ``inputs["token_masked"] (B, T)`` hides.

        The relation comes from ``inputs["semantic_relation"] (B, T - 2)``, computed beforehand, or else from
        the teacher; without either there is none.
        """
        token_ids = inputs["token_ids"]
        length = token_ids.shape[1]
        relation = inputs.get("semantic_relation")
        if relation is None and self._teacher is not None and pixels is not None:
            relation = _scores(self._teacher, pixels, samples, token_ids, text_mask)[:, 1:-1]
        return WordTargets(
            masked=required(inputs, "token_masked").bool()[:, :length],
            token_ids=token_ids,
            relation=None if relation is None else relation[:, : length - 2],
        )


def _scores(
    teacher: Frozen, pixels: Tensor, samples: Sequence[ReferringSample], token_ids: Tensor, text_mask: Tensor
) -> Tensor:
    """Semantic relation of every position ``(B, T)``."""
    height, width = pixels.shape[-2:]
    sides = torch.tensor([width, height] * 2, device=pixels.device)
    boxes = box_convert(to_canvas_units(samples, pixels.device), "cxcywh", "xyxy") * sides
    scores: Tensor = teacher.on(pixels.device)(pixels, boxes, token_ids, text_mask)
    return scores


def required(inputs: Mapping[str, Tensor], name: str) -> Tensor:
    """An input that only a masking transform of the data pipeline provides.

    Raises:
        InputError: it is not there.
    """
    if name not in inputs:
        raise InputError(
            f"inputs have no {name!r} (found: {', '.join(inputs)}): put the masking transforms at the end of "
            "the training pipeline"
        )
    return inputs[name]
