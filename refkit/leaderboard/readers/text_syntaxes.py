"""Raw answers in syntaxes that `supervision` parses: `supervision.Detections.from_vlm`.

A model of this table writes its boxes in a space of its own (1,024 bins, thousandths, y before x), which its
parser knows; here they become fractions of the width and height of the picture, ``xyxy-unit``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from refkit.leaderboard.readers.answers import MOST_BOXES, AnswerError

Parser = Callable[[str], NDArray[np.float64] | None]

SPACE = "xyxy-unit"
SYNTAXES = {"paligemma": "paligemma", "deepseek-vl2": "deepseek_vl_2", "gemini": "gemini_2_0"}
"""Names of refkit's formats, and what supervision calls them."""
LONGEST_ANSWER = 20_000
"""Characters of an answer that these parsers are given: on hostile text their time grows with the square."""


def parser(syntax: str) -> Parser:
    """What reads the boxes of one answer.

    Args:
        syntax: a key of `SYNTAXES`.

    Returns:
        From a raw answer to ``(k, 4)`` fractions of the picture with ``k > 0``, in the order in which they
        are written; None where there is no box.

    Raises:
        AnswerError: supervision is not installed.
    """
    try:
        from supervision import Detections
    except ImportError:
        raise AnswerError(
            f"answers of the format {syntax!r} are parsed by the package supervision, which is not "
            "installed; run `pip install 'refkit[answers]'`"
        ) from None

    def boxes_in(text: str) -> NDArray[np.float64] | None:
        if len(text) > LONGEST_ANSWER:
            return None
        try:
            found = Detections.from_vlm(SYNTAXES[syntax], text, resolution_wh=(1, 1)).xyxy
        except Exception:  # a parser of well-formed answers: whatever it stumbles over is no box
            return None
        return np.asarray(found[:MOST_BOXES], np.float64) if len(found) else None

    return boxes_in
