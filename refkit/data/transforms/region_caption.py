"""The transform that gives a region the caption to be learnt and the control words that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from refkit.data.arguments import require_choice, require_probability
from refkit.data.caption_text import normalise_caption
from refkit.data.control_words import drop_words, join_words, parse_words, pooled
from refkit.data.pos_tagging import tagger_named
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample


class MissingCaptionError(ValueError):
    """A sample that a caption is to be learnt from has none."""


@TRANSFORMS.register_module()
class RegionCaption:
    """For training: ``text`` becomes one of the references (without any, it stays), normalised, and
    ``meta["control"]`` the prompt of control words, many of them dropped.

    The words are those stored with the record (``meta["phrases"]``, one list per reference), or else parsed
    here; the tags are ``meta["tags"]``.

    Args:
        which: ``random`` reference, or the ``first``.
        full_drop: probability that no control word is left.
        drop: probability of each to be left out otherwise.
        tagger: for captions without stored words, see `refkit.data.pos_tagging.tagger_named`.
        max_words: words of a caption beyond are cut off.
    """

    def __init__(
        self,
        which: Literal["random", "first"] = "random",
        full_drop: float = 0.5,
        drop: float = 0.5,
        tagger: str = "rules",
        max_words: int = 50,
    ) -> None:
        self.which = require_choice("which", which, ("random", "first"))
        self.full_drop = require_probability("full_drop", full_drop)
        self.drop = require_probability("drop", drop)
        self.tag = tagger_named(tagger)[1]
        self.max_words = max_words

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with caption and prompt.

        Raises:
            MissingCaptionError: it has neither references nor a text, or an empty one.
        """
        references: Sequence[str] = sample.meta.get("references") or [sample.text]
        place = int(rng.integers(len(references))) if self.which == "random" else 0
        caption = normalise_caption(references[place], self.max_words)
        if not caption:
            raise MissingCaptionError(
                f"record {sample.id}: no words are left of its caption {references[place]!r}; leave such "
                "records out"
            )
        stored = sample.meta.get("phrases")
        words = stored[place] if stored else parse_words(self.tag(caption))
        pool = pooled(sample.meta.get("tags", ()), words)
        prompt = join_words(drop_words(pool, rng, self.full_drop, self.drop))
        return replace(sample, text=caption, meta={**sample.meta, "control": prompt})
