"""Pictures of two sets that look the same, whatever they are called: distances of perceptual hashes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refkit.data.image_sets import ImageSet, Picture

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]

# Bits of 64 by which perceptual hashes of one photo differ after re-encoding or resizing.
DEFAULT_DISTANCE = 4


@dataclass(frozen=True, slots=True)
class LookAlike:
    """Two pictures with nearly the same perceptual hash."""

    train: str
    evaluation: str
    distance: int
    same_number: bool


@dataclass(slots=True)
class HashReport:
    """Comparison by perceptual hash.

    Attributes:
        distance: largest number of differing bits (of 64) that counts as the same picture.
        train: pictures hashed and pictures that were not there, on the training side.
        evaluation: the same for the evaluation side.
        pairs: look-alikes, nearest first.
    """

    distance: int
    train: dict[str, int]
    evaluation: dict[str, int]
    pairs: list[LookAlike]

    def to_json(self) -> dict[str, Any]:
        """Field by field."""
        pairs = [{name: getattr(pair, name) for name in pair.__slots__} for pair in self.pairs]
        return {
            "distance": self.distance,
            "train": self.train,
            "evaluation": self.evaluation,
            "pairs": pairs,
        }


def compare_hashes(
    train: Sequence[tuple[ImageSet, Path | None]],
    evaluation: Sequence[tuple[ImageSet, Path | None]],
    distance: int = DEFAULT_DISTANCE,
    track: Track = lambda items, total, title: items,
) -> HashReport:
    """Find pictures of both sides that look the same, whatever they are called.

    Args:
        train: sets, each with the folder of its pictures (None = not there).
        evaluation: the same for the other side.
        distance: largest number of differing bits of the 64-bit DCT hash (`imagehash.phash`).
        track: ``(items, total, title) -> items``, for a progress bar.
    """
    train_hashes, train_counts = _hash_side(train, track, "hash training pictures")
    evaluation_hashes, evaluation_counts = _hash_side(evaluation, track, "hash evaluation pictures")
    pairs = _near(train_hashes, evaluation_hashes, distance)
    return HashReport(distance, train_counts, evaluation_counts, pairs)


Hashed = dict[Picture, tuple[Path, int]]


def _hash_side(
    sides: Sequence[tuple[ImageSet, Path | None]], track: Track, title: str
) -> tuple[Hashed, dict[str, int]]:
    paths: dict[Picture, Path] = {}
    every: set[Picture] = set()
    for side, root in sides:
        every.update(side.pictures)
        if root is not None and root.is_dir():
            paths.update(_present(side, root))
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 2) + 2)) as pool:
        values = list(track(pool.map(_phash, paths.values()), len(paths), title))
    hashed = {
        picture: (path, value)
        for (picture, path), value in zip(paths.items(), values, strict=True)
        if value is not None
    }
    unreadable = len(paths) - len(hashed)
    return hashed, {
        "hashed": len(hashed),
        "without_picture": len(every) - len(paths),
        "unreadable": unreadable,
    }


def _present(side: ImageSet, root: Path) -> dict[Picture, Path]:
    from refkit.data.images import ImageError, find_image

    found = {}
    for picture, file in side.files.items():
        try:
            found[picture] = find_image(root, file)
        except ImageError:
            continue
    return found


def _phash(path: Path) -> int | None:
    import imagehash
    from PIL import Image

    try:
        with Image.open(path) as image:
            bits = imagehash.phash(image).hash
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _near(train: Hashed, evaluation: Hashed, distance: int) -> list[LookAlike]:
    """All pairs within a Hamming distance, by XOR and popcount in blocks of rows."""
    train_items, evaluation_items = list(train.items()), list(evaluation.items())
    ours = np.array([value for _, (_, value) in train_items], np.uint64)
    theirs = np.array([value for _, (_, value) in evaluation_items], np.uint64)
    pairs = []
    for start in range(0, len(theirs), 256):
        bits = np.bitwise_count(theirs[start : start + 256, None] ^ ours[None, :])
        for row, column in np.argwhere(bits <= distance):
            picture, (path, _) = evaluation_items[start + row]
            other, (other_path, _) = train_items[column]
            pairs.append(LookAlike(str(other_path), str(path), int(bits[row, column]), other == picture))
    return sorted(pairs, key=lambda pair: (pair.distance, pair.evaluation, pair.train))
