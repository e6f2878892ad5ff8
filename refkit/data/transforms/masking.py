"""Transforms that hide patches and words, for masked modelling; they stand last, after canvas and text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from refkit.data.arguments import require_choice, require_length, require_probability
from refkit.data.roles import roles_by_rules
from refkit.data.transforms import patch_masks, word_masks
from refkit.data.transforms.primitives import canvas_image
from refkit.registry import MODELS, TRANSFORMS
from refkit.structures import ReferringSample

_RULES = ("published", "paper", "uniform")
Rule = Literal["published", "paper", "uniform"]


@TRANSFORMS.register_module()
class ReferringMask:
    """Hides patches, most of them where the target is: ``extras["patch_masked"] (N,)`` bool, row-major.

    ========== =============================================== ==============================================
    rule       region                                          what is hidden
    ========== =============================================== ==============================================
    published  corners cut to whole patches, one patch more    ``beta`` of the picture, then ``gamma`` of the
               on each side                                    region drawn anew
    paper      the patches that the box touches                ``gamma`` of it in blocks (Algorithm 1),
                                                               ``beta`` around it
    uniform    none                                            ``beta`` of the picture: plain masked
                                                               modelling, for comparison
    ========== =============================================== ==============================================

    Several targets are one region; without a target nothing but ``beta`` counts.

    Args:
        patch_size: of the backbone, in pixels.
        rule: see above.
        beta: share hidden around the target.
        gamma: share hidden of the target's region.
        min_block: ``paper``: patches of the smallest block.
        aspect: ``paper``: least aspect ratio of a block; the largest is its inverse.
    """

    def __init__(
        self,
        patch_size: int = 16,
        rule: Rule = "published",
        beta: float = 0.35,
        gamma: float = 0.75,
        min_block: int = patch_masks.MIN_BLOCK,
        aspect: float = patch_masks.ASPECT,
    ) -> None:
        self.patch_size = require_length("patch_size", patch_size)
        self.rule = require_choice("rule", rule, _RULES)
        self.beta = require_probability("beta", beta)
        self.gamma = require_probability("gamma", gamma)
        if min_block < 1 or not 0 < aspect <= 1:
            raise ValueError(
                f"min_block={min_block}, aspect={aspect}: expected at least 1, and 0 < aspect <= 1"
            )
        self.min_block, self.aspect = min_block, aspect

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with its mask.

        Raises:
            ValueError: the canvas cannot be divided into patches.
        """
        height, width = canvas_image(sample).shape[:2]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"a canvas of {width} x {height} pixels has no whole number of patches of {self.patch_size}; "
                "put Pad or Letterbox before ReferringMask, or correct its patch_size"
            )
        grid = height // self.patch_size, width // self.patch_size
        mask = self._mask(rng, sample.boxes, (width, height), grid)
        return replace(sample, extras={**sample.extras, "patch_masked": mask.ravel()})

    def _mask(
        self, rng: np.random.Generator, boxes: np.ndarray, canvas: tuple[int, int], grid: tuple[int, int]
    ) -> np.ndarray:
        if self.rule == "uniform":
            return patch_masks.uniform_mask(rng, grid, self.beta)
        if self.rule == "published":
            spans = patch_masks.published_patches(boxes, canvas, grid)
            return patch_masks.published_mask(rng, grid, spans, self.beta, self.gamma)
        spans = patch_masks.touched_patches(boxes, canvas, grid)
        shape = self.min_block, self.aspect
        return patch_masks.block_mask(rng, grid, spans, self.beta, self.gamma, *shape)


@TRANSFORMS.register_module()
class MaskText:
    """Hides words: ``extras["token_masked"] (T,)`` bool and ``extras["masked_token_ids"] (T,)`` int64.

    ========== ================================================================================
    rule       what can be hidden
    ========== ================================================================================
    published  words and the end token; first subject and object, where they are one token each
    paper      words only; first all tokens of subject and object
    uniform    words only, all alike: plain masked modelling, for comparison
    ========== ================================================================================

    The paper states the ratio alone; the rest of the rule ``paper`` is how refkit reads it. Subject and
    object are those stored with the record (``meta["roles"]``, see ``refkit data parse``), or else found by
    the rules that this command uses by default.

    Args:
        tokenizer: of the model, or its config; it states ``mask_id`` and ``replacements``.
        rule: see above.
        ratio: share of the tokens that is hidden, at least one.
    """

    def __init__(
        self,
        tokenizer: Callable[..., Any] | Mapping[str, Any],
        rule: Rule = "published",
        ratio: float = 0.4,
    ) -> None:
        built: Any = MODELS.build(dict(tokenizer)) if isinstance(tokenizer, Mapping) else tokenizer
        if not hasattr(built, "mask_id"):
            raise ValueError(
                f"tokenizer: {type(built).__name__} has no token for a masked word; take a "
                "SentencePieceTokenizer"
            )
        self.tokenizer = built
        self.rule = require_choice("rule", rule, _RULES)
        self.ratio = require_probability("ratio", ratio)

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with hidden words.

        Raises:
            ValueError: the text has no words.
        """
        try:
            ids = self.tokenizer([sample.text])[0].numpy()
        except ValueError as error:
            raise ValueError(f"record {sample.id}: {error}") from error
        last = int((ids != self.tokenizer.pad_id).sum()) - 1
        last -= self.rule != "published"  # the end token is hidden by the released code only
        count = word_masks.hidden_words(last, self.ratio)
        hidden = word_masks.choose_hidden(rng, 1, last, count, self._first(sample, ids))
        masked = np.zeros(len(ids), bool)
        masked[hidden] = True
        stand_ins = self.tokenizer.mask_id, self.tokenizer.replacements
        seen = word_masks.replace_hidden(rng, ids, hidden, *stand_ins)
        return replace(sample, extras={**sample.extras, "token_masked": masked, "masked_token_ids": seen})

    def _first(self, sample: ReferringSample, ids: np.ndarray) -> list[int]:
        """Positions of subject and object."""
        if self.rule == "uniform":
            return []
        roles = sample.meta.get("roles") or roles_by_rules(sample.text).to_json()
        wanted = [roles[part] for part in ("subject", "object") if roles.get(part)]
        return word_masks.positions_of(self.tokenizer.spell(ids.tolist()), wanted, self.rule == "paper")
