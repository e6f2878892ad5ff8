"""Time the views of regions on pictures of a folder: tools/benchmark_views.py FOLDER [--regions N] [--side S]

Per region, after decoding, on one thread: choosing three views by the image prior in both versions, and
cutting three random views. Regions are random boxes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

Image = Any
"""``(H, W, 3)`` uint8; NumPy is imported late, so that --help is quick."""


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="pictures (.jpg, .png)")
    parser.add_argument("--regions", type=int, default=20, help="of a picture (default 20)")
    parser.add_argument("--pictures", type=int, default=20, help="at most (default 20)")
    parser.add_argument("--side", type=int, default=224, help="of a view in pixels (default 224)")
    return parser.parse_args()


def per_region(work: Callable[[], object], regions: int, repeats: int = 5) -> float:
    """Milliseconds of processor time per region, the median of several runs after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return 1e3 * statistics.median(times) / regions


def measure(image: Image, count: int, side: int) -> dict[str, float]:
    """Milliseconds per region of one picture, by what was done."""
    import numpy as np

    from refkit.data.transforms.region_views import view_arrays
    from refkit.data.view_selection import ImagePrior, RandomViews

    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.7, (count, 2))
    high = low + rng.uniform(0.05, 0.3, low.shape)
    boxes = np.concatenate((low, high), axis=1) * np.tile((image.shape[1], image.shape[0]), 2)
    found = {}
    for regions in sorted({1, count}):
        some = boxes[:regions]
        for prior in (ImagePrior("published"), ImagePrior("phash")):
            work = partial(prior.choose, image, some, 3, rng)
            found[f"choose 3 views, {prior.hash}, {regions} region(s)"] = per_region(work, regions)
    work = partial(view_arrays, image, boxes, 3, RandomViews(), rng, side)
    found[f"cut 3 random views, {count} region(s)"] = per_region(work, count)
    return found


def main() -> None:
    """Measure and print; leaves with 2 if there are no pictures."""
    from refkit.data.images import load_image

    arguments = parse_arguments()
    folder = arguments.folder
    listed = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [path for path in listed if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    if not pictures:
        print(f"error: {folder} holds no .jpg or .png pictures", file=sys.stderr)
        sys.exit(2)
    found: dict[str, list[float]] = {}
    for path in pictures[: arguments.pictures]:
        for what, spent in measure(load_image(path), arguments.regions, arguments.side).items():
            found.setdefault(what, []).append(spent)
    for what, values in found.items():
        print(f"{what:45s} {statistics.median(values):7.3f} ms per region ({len(values)} pictures)")


if __name__ == "__main__":
    main()
