"""Boxes in the raw text of grounding language models. The syntax is recognised; the space never is.

=============================  ===============================================================================
``{"bbox_2d": [1, 2, 3, 4]}``  Qwen2-VL and later (also ``"bbox"``); everything else of the JSON is ignored
``<box>(1,2),(3,4)</box>``     Qwen-VL; ``<|box_start|>(1,2),(3,4)<|box_end|>`` of Qwen2-VL
``<loc_1><loc_2><loc_3>…``     Florence-2: bins of a thousandth; each number stands for the middle of its bin
``[0.1,0.2,0.3,0.4]``          Shikra (several with ``;``), Ferret, CogVLM, InternVL, LLaVA
``(1,2),(3,4)``                two corners in parentheses
=============================  ===============================================================================
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

LONGEST_ANSWER = 1_000_000
MOST_BOXES = 1_000

# Every repetition has a bound, so that no answer takes more than linear time.
_GAP = r"\s{0,8}"
_N = rf"{_GAP}([-+]?\d{{1,12}}(?:\.\d{{0,18}})?(?:[eE][-+]?\d{{1,3}})?){_GAP}"
_FOUR = rf"{_N},{_N},{_N},{_N}"
_CORNERS = rf"\({_N},{_N}\){_GAP},?{_GAP}\({_N},{_N}\)"
_SYNTAXES = (
    re.compile(rf'"bbox(?:_2d)?"{_GAP}:{_GAP}\[{_FOUR}\]'),
    re.compile(rf"(?:<box>|<\|box_start\|>){_GAP}{_CORNERS}"),
    re.compile(r"<loc_(\d{1,4})><loc_(\d{1,4})><loc_(\d{1,4})><loc_(\d{1,4})>"),
    re.compile(rf"(?<=[\[;]){_FOUR}(?=[\];])"),
    re.compile(_CORNERS),
)
_FLORENCE = _SYNTAXES[2]
_HALF_BIN = 0.5


def boxes_in_text(text: str) -> NDArray[np.float64] | None:
    """All boxes of an answer in the order in which they are written.

    Where the model marks its final answer (``<answer>…</answer>``), only that part is read. The first
    syntax of the table that occurs is the one that is read.

    Args:
        text: the raw answer.

    Returns:
        ``(k, 4)`` with ``k > 0``, numbers as written (Florence-2: middle of the bin), or None where
        there is no box or the text is longer than a million characters.
    """
    if len(text) > LONGEST_ANSWER:
        return None
    part = _final_answer(text)
    for syntax in _SYNTAXES:
        found = [match.groups() for _, match in zip(range(MOST_BOXES), syntax.finditer(part), strict=False)]
        if found:
            boxes = np.array(found, np.float64)
            return boxes + _HALF_BIN if syntax is _FLORENCE else boxes
    return None


def _final_answer(text: str) -> str:
    start = text.find("<answer>")
    end = text.find("</answer>", start)
    return text[start + len("<answer>") : end] if 0 <= start < end else text
