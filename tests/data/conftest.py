"""Records for the data tests: a small valid file, and the eight public evaluation splits where they are at hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from refkit.data.records import Header, ImageRef, Record, Target, write_records

SPLITS = {
    "refcoco_val": "refcoco.unc.val",
    "refcoco_testA": "refcoco.unc.testA",
    "refcoco_testB": "refcoco.unc.testB",
    "refcocoplus_val": "refcocoplus.unc.val",
    "refcocoplus_testA": "refcocoplus.unc.testA",
    "refcocoplus_testB": "refcocoplus.unc.testB",
    "refcocog_val": "refcocog.umd.val",
    "refcocog_test": "refcocog.umd.test",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test touches the user's cache."""
    monkeypatch.setenv("REFKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_record():
    """``make_record(number, **changes)``: a valid record; two expressions per object, two objects per picture."""
    return _make_record


@pytest.fixture
def made_header():
    """``made_header(**changes)``: a header of the user's own set."""
    return _made_header


@pytest.fixture(scope="session")
def splits() -> dict[str, str]:
    """Names of the reference numbers → canonical names."""
    return SPLITS


def _make_record(number: int, **changes: object) -> Record:
    picture = number // 4
    fields: dict = {
        "id": f"made.{number}",
        "image": ImageRef(f"{picture:06d}.jpg", 64, 48, picture),
        "text": f"the left dog {number}",
        "targets": [Target((1.5, 2.0, 30.25, 40.0), id=number // 2, category="dog")],
        "object": f"object.{number // 2}",
    }
    return Record(**{**fields, **changes})


def _made_header(**changes: object) -> Header:
    return Header(**{"dataset": "made", "split_by": "test", "split": "val", **changes})


@pytest.fixture
def records_file(tmp_path) -> Path:
    """Ten valid records."""
    path = tmp_path / "made.jsonl"
    write_records(path, _made_header(), (_make_record(number) for number in range(10)))
    return path


def public_records(path: Path, prefix: str) -> Iterator[Record]:
    """One record per expression of a public annotation file; positions as ids."""
    position = 0
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row, line in enumerate(file):
            entry = json.loads(line)
            x, y, width, height = entry["bbox"]
            image = ImageRef(Path(entry["image"]).name, entry["width"], entry["height"], entry["image_id"])
            target = Target((x, y, x + width, y + height), category=entry.get("category"))
            for text in entry["expressions"]:
                yield Record(f"{prefix}.{position}", image, text, [target], object=f"{prefix}.{row}")
                position += 1


@pytest.fixture(scope="session")
def evaluation_files(shared, tmp_path_factory) -> dict[str, Path]:
    """The eight public evaluation splits as records files, by the names of the reference numbers."""
    folder = tmp_path_factory.mktemp("evaluation")
    files = {}
    for name, canonical in SPLITS.items():
        prefix = canonical.rsplit(".", 1)[0]
        path = folder / f"{canonical}.jsonl"
        source = shared / "data" / "refcoco_full_eval" / f"{name}.jsonl.gz"
        write_records(path, Header(*canonical.split(".")), public_records(source, prefix))
        files[name] = path
    return files
