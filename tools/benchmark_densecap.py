"""Measure dense-captioning scores on invented data: tools/benchmark_densecap.py [--detections N].

Prints seconds of matching, of METEOR (where Java is installed; otherwise the language scores are invented)
and of the 35 average precisions: 5 IoU thresholds times 6 language thresholds, and 5 of detection.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from benchmark_scoring import COLOURS, HEIGHT, NOUNS, SIDES, WIDTH

from refkit.data.records import ImageRef, Record, Target
from refkit.metrics.densecap import (
    ANY_WORDS,
    DIALECTS,
    LANGUAGE,
    Collected,
    language_scores,
    mean_average_precision,
)
from refkit.metrics.java_tools import CaptionToolError
from refkit.structures import Prediction

DIALECT = next(one for one in DIALECTS if one.id == "densecap/python")
REGIONS, SAME_WORDS = 0.6, 0.3
"""Annotated regions per detection, and the share of detections that say what the annotation says."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--detections", type=int, default=250_000)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if not 1 <= arguments.images <= arguments.detections:
        parser.error("--images is at least 1 and at most --detections")
    report = {"detections": arguments.detections, "images": arguments.images}
    report |= measure(list(invent(arguments.detections, arguments.images)))
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def measure(pictures: list[tuple[Record, Prediction]]) -> dict[str, float]:
    """Seconds of the three parts, one after the other."""
    start = time.perf_counter()
    collected = Collected()
    for record, answer in pictures:
        collected.add(record, answer, DIALECT)
    report = {"seconds_matching": time.perf_counter() - start}
    start = time.perf_counter()
    try:
        words = language_scores(collected.candidates, collected.references)
        report["seconds_meteor"] = time.perf_counter() - start
    except CaptionToolError as error:
        print(f"language scores are invented: {error}", file=sys.stderr)
        words = np.random.default_rng(3).random(len(collected.candidates)) ** 3
    matches, n = collected.matches(words), len(collected.regions)
    start = time.perf_counter()
    for thresholds in (LANGUAGE, (ANY_WORDS,)):
        report["detection_map" if thresholds == (ANY_WORDS,) else "map"] = mean_average_precision(
            matches, n, thresholds, DIALECT.recalls
        ).value
    report["seconds_35_average_precisions"] = time.perf_counter() - start
    return {name: round(value, 4) for name, value in report.items()}


def invent(detections: int, images: int) -> Iterator[tuple[Record, Prediction]]:
    """Pictures whose regions are described, with detections around them and elsewhere."""
    rng = np.random.default_rng(0)
    for number, members in enumerate(np.array_split(np.arange(detections), images)):
        count, regions = len(members), max(1, round(REGIONS * len(members)))
        corner = rng.random((count, 2)) * (WIDTH * 0.6, HEIGHT * 0.6)
        boxes = np.concatenate((corner, corner + 20 + rng.random((count, 2)) * 180), axis=1)
        captions = [caption(rng) for _ in members]
        same = rng.random(count) < SAME_WORDS
        yield (
            Record(
                str(number),
                ImageRef(f"{number:012}.jpg", WIDTH, HEIGHT),
                targets=[Target(box=tuple(box)) for box in boxes[:regions].tolist()],
                references=captions[:regions],
            ),
            Prediction(
                str(number),
                boxes=boxes + rng.normal(0, 4, boxes.shape),
                scores=rng.random(count),
                captions=[
                    one if equal else caption(rng) for one, equal in zip(captions, same.tolist(), strict=True)
                ],
            ),
        )


def caption(rng: np.random.Generator) -> str:
    """Seven words or so."""
    parts = (COLOURS, NOUNS, SIDES, COLOURS, NOUNS)
    colour, noun, side, other_colour, other = (part[rng.integers(len(part))] for part in parts)
    return " ".join(f"a {colour} {noun} {side} the {other_colour} {other}".split())


if __name__ == "__main__":
    main()
