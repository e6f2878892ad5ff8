import gzip
import json
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from refkit import rle
from refkit.data import digest as digest_module
from refkit.data.records import (
    Header,
    ImageRef,
    Record,
    RecordError,
    Target,
    digest,
    digest_masks,
    iter_records,
    read_header,
    read_records,
    write_records,
)


def full_record():
    mask = rle.encode(np.pad(np.ones((10, 12), bool), ((3, 35), (4, 48))))
    return Record(
        id="made.full",
        image=ImageRef("folder/Größe 7.jpg", 64, 48, "seven"),
        text="der Hund, links\u2028 zweite Zeile",
        targets=[
            Target(
                (0.1 + 0.2, 1e-7, 30.123456789, 40.0), mask, 7, "dog", True, [[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]]
            ),
            Target(mask=mask),
        ],
        object="object.full",
        ignore=mask,
        references=["ein Hund", ""],
        labels={"wet": 0, "red": 1},
        facts={"words": 2, "place_word": True, "share": 0.25},
        extra={"curator": ["a", {"b": None}]},
    )


@pytest.mark.parametrize("name", ["made.jsonl", "made.jsonl.gz"])
def test_what_is_written_comes_back(tmp_path, made_header, make_record, name):
    records = [full_record(), make_record(1, text=None, targets=[]), make_record(2)]
    header = made_header(
        task=["rec", "caption"], licence="mine", image_root="x", source={"a": "sha256:1"}, extra={"z": [1]}
    )
    written = write_records(tmp_path / name, header, iter(records))
    assert (written.records, written.images) == (3, 2)
    assert written.digest == digest(records) and written.digest_masks == digest_masks(records)
    assert read_header(tmp_path / name) == written
    assert read_records(tmp_path / name) == (written, records)
    assert list(iter_records(tmp_path / name)) == records
    assert header.records == 0, "the header that was handed in stays as it was"


def test_the_layout_on_disk_is_that_of_the_format(records_file):
    header, first = (json.loads(line) for line in records_file.read_text().splitlines()[:2])
    assert header["format"] == "refkit.records/1" and (header["records"], header["images"]) == (10, 3)
    assert first == {
        "id": "made.0",
        "image": {"file": "000000.jpg", "id": 0, "width": 64, "height": 48},
        "text": "the left dog 0",
        "targets": [{"id": 0, "box": [1.5, 2.0, 30.25, 40.0], "category": "dog"}],
        "object": "object.0",
    }


def test_equal_records_give_equal_bytes(tmp_path, made_header, make_record):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_records(tmp_path / name, made_header(), (make_record(number) for number in range(50)))
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_numbers_of_numpy_are_written_as_numbers(tmp_path, made_header, make_record):
    box = tuple(np.array([1.5, 2.25, 3.0, 4.0], np.float32))
    write_records(tmp_path / "a.jsonl", made_header(), [make_record(0, targets=[Target(box)])])
    [record] = iter_records(tmp_path / "a.jsonl")
    assert record.targets[0].box == (1.5, 2.25, 3.0, 4.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"targets": [Target((5.0, 0.0, 1.0, 3.0))]}, r"made\.jsonl:4: targets\[0\]\.box: .* right < left"),
        ({"targets": [Target((0.0, 0.0, float("nan"), 3.0))]}, r"made\.jsonl:4: cannot be written as JSON"),
        ({"id": "made.0"}, r"made\.jsonl:4: id: 'made\.0' stands on line 2 already"),
        ({"text": "a\ud800"}, r"made\.jsonl:4: .*cannot be written|half of a surrogate"),
        ({"facts": {"a": {1, 2}}}, r"made\.jsonl:4: cannot be written as JSON"),
        (
            {"targets": [Target((0.0, 0.0, 1.0, 1.0), {"size": [1, 1], "counts": "1"})]},
            r"mask\.size: \[1, 1\]",
        ),
    ],
)
def test_a_bad_record_stops_writing_and_leaves_the_old_file(
    tmp_path, records_file, made_header, make_record, changes, expected
):
    before = records_file.read_bytes()
    records = [make_record(0), make_record(1), make_record(2, **changes)]
    with pytest.raises(RecordError, match=expected) as caught:
        write_records(records_file, made_header(), records)
    assert "nothing was written" in str(caught.value)
    assert records_file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_bad_header_is_not_written(tmp_path):
    with pytest.raises(
        RecordError, match=r"1: dataset: 'refcoco\+\.unc\.val' is spelt 'refcocoplus\.unc\.val'"
    ):
        write_records(tmp_path / "a.jsonl", Header("refcoco+", "unc", "val"), [])
    assert not (tmp_path / "a.jsonl").exists()


def test_a_failing_source_leaves_no_file(tmp_path, made_header, make_record):
    def source():
        yield make_record(0)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        write_records(tmp_path / "a.jsonl", made_header(), source())
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_counts_gets_them_on_reading(tmp_path, records_file):
    header, *lines = records_file.read_text().splitlines()
    bare = {"format": "refkit.records/1", "dataset": "made", "split_by": "test", "split": "val"}
    path = tmp_path / "bare.jsonl"
    path.write_text("\r\n".join([json.dumps(bare), *lines]))
    assert read_header(path).digest == ""
    found, records = read_records(path)
    assert (found.records, found.images, found.digest) == (10, 3, json.loads(header)["digest"])
    assert records == list(iter_records(records_file))


def test_gzip_is_told_by_content_not_by_name(tmp_path, records_file):
    packed, named = tmp_path / "packed.jsonl", tmp_path / "named.jsonl.gz"
    packed.write_bytes(gzip.compress(records_file.read_bytes()))
    named.write_bytes(records_file.read_bytes())
    assert read_records(packed) == read_records(named) == read_records(records_file)


def test_the_digest_is_that_of_the_definition(make_record):
    """Written out by hand once, so that it can never change unnoticed: results are filed under it."""
    records = [
        make_record(1, text="Cafe\u0301"),
        make_record(0, targets=[Target((0.125, -0.001, 2.675, 3.0))]),
    ]
    import hashlib

    lines = [
        '["made.0","000000.jpg",64,48,"the left dog 0",[["0.12","0.00","2.67","3.00"]]]\n',
        '["made.1","000000.jpg",64,48,"Caf\u00e9",[["1.50","2.00","30.25","40.00"]]]\n',
    ]
    assert digest(records) == "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def test_digests_ignore_what_does_not_matter(tmp_path, records_file):
    records = list(iter_records(records_file))
    expected = digest(records), digest_masks(records)
    shuffled = random.Random(0).sample(records, len(records))
    for record in shuffled:
        record.facts, record.extra, record.object = {"a": 1}, {"b": 2}, None
        record.text = unicodedata.normalize("NFD", record.text)
        record.targets[0].box = tuple(value + 1e-9 for value in record.targets[0].box)
    assert (digest(shuffled), digest_masks(shuffled)) == expected

    header, *lines = records_file.read_text().splitlines()
    turned = [json.dumps(dict(reversed(json.loads(line).items()))) for line in reversed(lines)]
    path = tmp_path / "turned.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join([header, *turned]).encode()))
    found, _ = read_records(path)
    assert (found.digest, found.digest_masks) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"image": ImageRef("other.jpg", 64, 48, 0)},
        {"image": ImageRef("000000.jpg", 65, 48, 0)},
        {"image": ImageRef("000000.jpg", 64, 49, 0)},
        {"text": "the left dog  0"},
        {"text": None},
        {"targets": []},
        {"targets": [Target((1.5, 2.01, 30.25, 40.0))]},
    ],
)
def test_digests_see_what_matters(make_record, change):
    assert digest([make_record(0)]) != digest([make_record(0, **change)])


def test_only_digest_masks_sees_masks(make_record):
    masks = [rle.encode(np.arange(64 * 48).reshape(48, 64) % 7 == offset) for offset in (0, 1)]
    first, second = ([make_record(0, targets=[Target((0.0, 0.0, 9.0, 9.0), mask)])] for mask in masks)
    assert digest(first) == digest(second)
    assert digest_masks(first) != digest_masks(second)


def test_the_digest_of_many_lines_does_not_depend_on_memory(monkeypatch, make_record):
    records = [make_record(number) for number in range(97)]
    expected = digest(records)
    monkeypatch.setattr(digest_module, "_RUN_BYTES", 2000)
    assert digest(records[::-1]) == expected


def test_records_need_neither_torch_nor_mmengine():
    code = (
        "import sys, refkit.data.records, refkit.data.check, refkit.data.stats, refkit.data.audit, refkit.cli.data;"
        "print([name for name in ('torch', 'mmengine', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
