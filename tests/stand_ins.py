"""Small things in place of released files that are not here, so that configs of full-size models run."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from refkit.backbones import VQKD, BEiT3Backbone
from refkit.inference.benchmark.absent import builds, mappings
from refkit.inference.benchmark.absent import without_files as without_files_in

_SMALL = {"width": 32, "layers": 1, "heads": 2}


@cache
def _folder() -> Path:
    """For a vocabulary that all tests of a process share."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def without_files(config: Any) -> Any:
    """The config, changed: models start from random weights, BEiT-3 reads a vocabulary of the released size."""
    config.load_from = None
    return without_files_in(config, _folder())


def shrunk(config: Any) -> Any:
    """The config, changed: every BEiT-3 and VQ-KD has one narrow block, and still the released words, codes
    and grids."""
    for part in mappings(config):
        if builds(part, BEiT3Backbone):
            part["size"] = {**_SMALL, "image_size": part["image_size"]}
        elif builds(part, VQKD):
            part["size"] = {**_SMALL, "code_width": 8}
    return config
