"""METEOR 1.5 through its own Java program: statistics per caption there, scores from their sums here.

The program reports 23 counts per caption; the score of a caption, of a corpus and of any resample is the same
function of their sums (Denkowski and Lavie 2014, §2). One process serves a whole run, is written to and read
from at the same time, and sees every pair of caption and references once.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.java_tools import CaptionToolError, LineProgram, find_jar, find_java

Floats = NDArray[np.float64]

VERSION = "meteor-1.5"
COUNTS = 23
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


@lru_cache(maxsize=1)
def _program() -> LineProgram:
    java, jar = find_java(), find_jar("meteor", f"{VERSION}.jar")
    options = ("-", "-", "-stdio", "-l", "en", "-norm")
    program = LineProgram((java, "-Xmx2G", "-jar", str(jar), *options), "METEOR")
    atexit.register(program.close)
    return program


def meteor_counts(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
    """What METEOR counts in each caption.

    Args:
        candidates: ``n`` captions.
        references: one or more for each of them.

    Returns:
        ``(n, 23)``: lengths, function words, matches by stage, chunks, matched words. A caption that equals
        its reference has no chunk, as METEOR leaves it out of a corpus. An empty caption keeps the length
        of a reference, which a corpus is measured against; all is zero without a reference.

    Raises:
        CaptionToolError: METEOR is not installed or failed.
    """
    lines = [_line(one, several) for one, several in zip(candidates, references, strict=True)]
    asked = list(dict.fromkeys(line for line in lines if line))
    answers = dict(zip(asked, _ask(asked), strict=True))
    counts = np.zeros((len(lines), COUNTS))
    for row, line in enumerate(lines):
        if line:
            counts[row] = answers[line]
    length, reference_length, chunks, words, reference_words = counts[:, (0, 1, 20, 21, 22)].T
    counts[(words == length) & (reference_words == reference_length) & (chunks == 1), 20] = 0.0
    return counts


def _line(candidate: str, references: Sequence[str]) -> str:
    """The request for one caption; its separator cannot be forged by a text."""
    texts = [" ".join(text.replace("|||", " ").split()) for text in (*references, candidate)]
    return " ||| ".join(("SCORE", *texts)) if references else ""


def _ask(lines: Sequence[str]) -> list[Floats]:
    if not lines:
        return []
    try:
        answers = _program().ask(lines)
    except CaptionToolError:
        _program.cache_clear()
        raise
    counts = [np.array(answer.split(), np.float64) for answer in answers]
    if any(len(count) != COUNTS for count in counts):
        raise CaptionToolError(f"METEOR answered with other than {COUNTS} counts; is its jar version 1.5?")
    return counts


def meteor_score(counts: Floats) -> Floats:
    """METEOR from counts.

    Args:
        counts: ``(..., 23)`` counts of a caption, or their sums over captions.

    Returns:
        ``(...)`` scores in 0..1.
    """
    length, reference_length, function, reference_function = np.moveaxis(counts[..., :4], -1, 0)
    stages = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 4)
    content, reference_content, small, reference_small = np.moveaxis(stages, -1, 0)
    chunks, words, reference_words = np.moveaxis(counts[..., 20:], -1, 0)
    precision = _ratio(_matched(content, small), _weighted_length(length, function))
    recall = _ratio(
        _matched(reference_content, reference_small), _weighted_length(reference_length, reference_function)
    )
    mean = _ratio(precision * recall, (1 - ALPHA) * recall + ALPHA * precision)
    fragmentation = _ratio(chunks, (words + reference_words) / 2)
    return np.clip(mean * (1 - GAMMA * fragmentation**BETA), 0.0, None)


def _matched(content: Floats, function: Floats) -> Floats:
    """Matches weighted by stage, content words by delta and function words by the rest."""
    return (DELTA * content + (1 - DELTA) * function) @ STAGE_WEIGHTS


def _weighted_length(length: Floats, function: Floats) -> Floats:
    return DELTA * (length - function) + (1 - DELTA) * function


def _ratio(above: Floats, below: Floats) -> Floats:
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.zeros_like(below), where=below > 0)
