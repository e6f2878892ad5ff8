"""Measure `refkit score` on invented data: tools/benchmark_scoring.py [--predictions N] [--images N] ...

Writes N records and answers, boxes or masks of 640 x 480 pixels (kept in --folder), scores them with
intervals and all breakdowns in a process of its own, and prints seconds, processor time and the largest
memory of that process and its children together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refkit.data.records import Header, ImageRef, Record, Target, read_header, write_records
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.structures import Prediction

WIDTH, HEIGHT = 640, 480
CATEGORIES = [f"class {number}" for number in range(79)] + ["person"]
SIDES = ("left", "right", "middle", "top", "bottom", "behind", "next to", "in front of", "near", "under")
COLOURS = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey", "")
ORDER = ("first", "second", "third", "last", "biggest", "smaller", "", "", "", "")
NOUNS = ("man", "woman", "dog", "cup", "chair", "bus", "horse", "kid", "pizza", "car", "zebra", "bowl")
POLL_SECONDS = 0.2


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictions", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--masks", action="store_true", help="score masks under res/1 instead of boxes")
    parser.add_argument("--folder", type=Path, help="keeps the invented files (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if min(arguments.predictions, arguments.images) < 1 or arguments.draws < 0:
        parser.error("--predictions and --images are at least 1, --draws at least 0")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        records, predictions = invent(folder, arguments.predictions, arguments.images, arguments.masks)
        protocol = "res/1" if arguments.masks else "rec/1"
        report = measure(records, predictions, protocol, folder / "score.json", arguments.draws)
    report = {"predictions": arguments.predictions, "images": arguments.images, **report}
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def invent(folder: Path, count: int, images: int, masks: bool) -> tuple[Path, Path]:
    """Records and predictions, made once per folder and size."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"invented.{count}.{images}{'.masks' if masks else ''}"
    records, predictions = folder / f"{stem}.jsonl", folder / f"{stem}.predictions.jsonl"
    boxes, answers, scores = _boxes(count)
    if not records.exists():
        header = Header("invented", "mine", "val", ["rec", "res"] if masks else ["rec"])
        write_records(records, header, _records(boxes, images, masks))
    if not predictions.exists():
        header = PredictionHeader.answering(read_header(records), "invented")
        answered = zip(answers, scores, strict=True)
        write_predictions(
            predictions,
            header,
            (
                Prediction(f"invented.{n}", box[None], score[None], _blob(box) if masks else None)
                for n, (box, score) in enumerate(answered)
            ),
        )
    return records, predictions


def measure(records: Path, predictions: Path, protocol: str, result: Path, draws: int) -> dict[str, float]:
    """Wall clock, processor time and memory of one `refkit score`."""
    command = [
        sys.executable,
        "-m",
        "refkit",
        "score",
        str(records),
        str(predictions),
        "--protocol",
        protocol,
    ]
    before, start = os.times(), time.perf_counter()
    process = subprocess.Popen(
        [*command, "--json", str(result), "--draws", str(draws)], stdout=subprocess.DEVNULL
    )
    peak = _PeakMemory(process.pid)
    peak.start()
    status = process.wait()
    seconds = time.perf_counter() - start
    peak.join()
    if status:
        raise SystemExit(status)
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"seconds": round(seconds, 2), "cpu_seconds": round(used, 2), "peak_mib": peak.mib, "cores": cores}


class _PeakMemory(threading.Thread):
    """Largest proportional set size of a process and its descendants together, read from /proc (Linux)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.mib = 0

    def run(self) -> None:
        while sizes := [size for pid in _family(self._pid) if (size := _proportional_kib(pid))]:
            self.mib = max(self.mib, sum(sizes) // 1024)
            time.sleep(POLL_SECONDS)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _proportional_kib(pid: int) -> int:
    """Shared pages count once among those who share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _boxes(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(count, 4)`` targets, ``(count, 4)`` answers, three in four of them near the target, and scores."""
    rng = np.random.default_rng(0)
    corner = rng.random((count, 2)) * (WIDTH * 0.6, HEIGHT * 0.6)
    side = 20 + rng.random((count, 2)) * (WIDTH * 0.38 - 20, HEIGHT * 0.38 - 20)
    targets = np.round(np.concatenate((corner, corner + side), axis=1), 2)
    near = targets + rng.normal(0, 6, (count, 4))
    elsewhere = rng.permutation(targets)
    right = rng.random(count) < 0.75
    answers = np.where(right[:, None], near, elsewhere)
    return targets, answers, np.clip(rng.normal(0.5 + 0.3 * right, 0.1), 0, 1)


def _blob(box: np.ndarray) -> dict[str, object]:
    """An ellipse with a wavy rim inside a box, as RLE."""
    from refkit.rle import encode

    left, top, right, bottom = box
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    x = (columns + 0.5 - (left + right) / 2) / max((right - left) / 2, 1)
    y = (rows + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2, 1)
    return encode(x**2 + y**2 < 0.9 + 0.1 * np.sin(9 * np.arctan2(y, x)))


def _records(boxes: np.ndarray, images: int, masks: bool) -> Iterator[Record]:
    rng = np.random.default_rng(1)
    words = [
        rng.integers(0, len(part), len(boxes)).tolist() for part in (ORDER, COLOURS, NOUNS, SIDES, NOUNS)
    ]
    classes = rng.integers(0, len(CATEGORIES), len(boxes)).tolist()
    for n, (box, *chosen) in enumerate(zip(boxes.tolist(), *words, strict=True)):
        order, colour, noun, side, other = (
            part[index] for part, index in zip((ORDER, COLOURS, NOUNS, SIDES, NOUNS), chosen, strict=True)
        )
        picture = n * images // len(boxes)
        text = " ".join(f"{order} {colour} {noun} {side} the {other} {n % 7 or ''}".split())
        yield Record(
            f"invented.{n}",
            ImageRef(f"{picture:012}.jpg", WIDTH, HEIGHT, picture),
            text,
            [Target(tuple(box), _blob(boxes[n]) if masks else None, n, CATEGORIES[classes[n]])],
        )


if __name__ == "__main__":
    main()
