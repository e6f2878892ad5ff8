"""Records that the foreign files of these tests answer."""

import pytest
from foreign_files import BOXES, HEIGHT, WIDTH

from refkit.data.records import Header, ImageRef, Record, Target, write_records


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.jsonl"
    rows = [
        Record(
            f"toy.{100 + n}",
            ImageRef(f"folder/{n // 2:012d}.jpg", WIDTH, HEIGHT, n // 2),
            f"Thing  {n}",
            [Target(box=box)],
        )
        for n, box in enumerate(BOXES)
    ]
    write_records(path, Header("toy", "mine", "val"), rows)
    return path
