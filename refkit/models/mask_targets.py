"""What Mask Referring Modeling has to predict, made from the pixels by networks that are never trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refkit.backbones.code_cache import CacheCounts, CachedCodes
from refkit.backbones.inputs import InputError
from refkit.backbones.relation_teacher import RelationTeacher
from refkit.backbones.vqkd import VQKD
from refkit.heads.box import to_canvas_units
from refkit.heads.mask_referring import PatchTargets, WordTargets
from refkit.losses.mask_referring import visual_relation
from refkit.registry import MODELS
from refkit.structures import ReferringSample


class TargetMaker:
    """Visual tokenizer and relation teacher.

    No module on purpose: their weights come from files of their own, belong to no checkpoint, are not
    averaged, synchronised or counted, and stay in evaluation mode and float32 whatever happens to the model.

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
        self.visual_tokenizer: VQKD | None = _frozen(visual_tokenizer)
        self.relation_teacher: RelationTeacher | None = _frozen(relation_teacher)
        self._cached = None
        if code_cache is not None and self.visual_tokenizer is not None:
            self._cached = CachedCodes(self.visual_tokenizer, code_cache)

    def __deepcopy__(self, memo: dict[int, Any]) -> TargetMaker:
        """Copies of the model (for averaged weights) share it: nothing in it changes."""
        return self

    @property
    def cache_counts(self) -> CacheCounts | None:
        """Of the code cache, or None without one."""
        return None if self._cached is None else self._cached.counts

    def codes(self, pixels: Tensor) -> Tensor:
        """Codes ``(B, N)`` int64 of ``pixels (B, 3, H, W)`` in [0, 1]."""
        if self.visual_tokenizer is None:
            raise ValueError(
                "patches are hidden, but the model has no visual_tokenizer to say what they were"
            )
        self.visual_tokenizer.to(pixels.device)
        return self.visual_tokenizer.codes(pixels) if self._cached is None else self._cached(pixels)

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
        if relation is None and self.relation_teacher is not None and pixels is not None:
            boxes = to_canvas_units(samples, pixels.device)
            relation = self._scores(pixels, boxes, token_ids, text_mask)[:, 1:-1]
        return WordTargets(
            masked=required(inputs, "token_masked").bool()[:, :length],
            token_ids=token_ids,
            relation=None if relation is None else relation[:, : length - 2],
        )

    def _scores(self, pixels: Tensor, boxes: Tensor, token_ids: Tensor, text_mask: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        centre, size = boxes[:, :2], boxes[:, 2:]
        corners = torch.cat((centre - size / 2, centre + size / 2), dim=1)
        sides = torch.tensor([width, height] * 2, device=boxes.device)
        teacher: Any = self.relation_teacher
        return teacher.to(pixels.device)(pixels, corners * sides, token_ids, text_mask)


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


def _frozen(config: Mapping[str, Any] | None) -> Any:
    return None if config is None else MODELS.build(dict(config)).eval().requires_grad_(False)
