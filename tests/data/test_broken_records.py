"""Every kind of broken file is refused, with a message that names the place, the fault and the remedy."""

import gzip
import json
import re

import pytest

from refkit.data.check import check_file
from refkit.data.records import RecordError, RecordFile, iter_records, read_header, read_records

HEADER = {"format": "refkit.records/1", "dataset": "made", "split_by": "test", "split": "val"}
MASK = {"size": [4, 6], "counts": "06>"}  # runs 0, 6, 14 do not cover 24 pixels
RECORD = {
    "id": "a",
    "image": {"file": "1.jpg", "width": 6, "height": 4, "id": 1},
    "text": "the dog",
    "targets": [{"box": [0, 0, 3, 2]}],
}


def record(**changes):
    return {**RECORD, **changes}


def image(**changes):
    return record(image={**RECORD["image"], **changes})


def target(**changes):
    return record(targets=[{"box": [0, 0, 3, 2], **changes}])


def without(fields, key):
    return {name: value for name, value in fields.items() if name != key}


BROKEN_RECORDS = {
    "not an object": (["a"], "2: found a list of 1 value, expected one JSON object per line"),
    "a bare number": (3, "2: found the number 3, expected one JSON object per line"),
    "missing id": (without(RECORD, "id"), "2: id: missing, expected text that names this record alone"),
    "number as id": (record(id=3), "2: id: found the number 3, expected text"),
    "empty id": (record(id=""), "2: id: empty, expected text"),
    "missing image": (without(RECORD, "image"), "2: image: missing, expected an object with file, width"),
    "renamed image": (
        {**without(RECORD, "image"), "img": {}},
        "2: image: missing, expected an object with file, width and height; rename 'img'?",
    ),
    "image as text": (record(image="1.jpg"), "2: image: found the text '1.jpg', expected an object"),
    "missing targets": (
        without(RECORD, "targets"),
        "2: targets: missing, expected a list ([] says that nothing",
    ),
    "misspelt targets": (
        {**without(RECORD, "targets"), "target": []},
        "2: target: unknown field, did you mean 'targets'?",
    ),
    "misspelt labels": (record(lables={}), "2: lables: unknown field, did you mean 'labels'?"),
    "targets as object": (record(targets={}), "2: targets: found an object with no keys, expected a list"),
    "target as box": (
        record(targets=[[0, 0, 1, 1]]),
        "2: targets[0]: found a list of 4 values, expected an object",
    ),
    "target without all": (record(targets=[{"id": 3}]), "2: targets[0]: has neither box nor mask"),
    "misspelt box": (
        record(targets=[{"bbox": [0, 0, 1, 1]}]),
        "2: targets[0].bbox: unknown field, did you mean 'box'?",
    ),
    "unknown in target": (target(zzz=1), "2: targets[0].zzz: unknown field; known here: box, mask, id"),
    "three numbers": (
        target(box=[0, 0, 1]),
        "2: targets[0].box: found a list of 3 values, expected [left, top",
    ),
    "box as object": (
        target(box={"x": 0}),
        "2: targets[0].box: found an object with 'x', expected [left, top",
    ),
    "text in box": (
        target(box=[0, 0, "3", 2]),
        "2: targets[0].box[2]: found the text '3', expected a number",
    ),
    "truth in box": (target(box=[0, True, 3, 2]), "2: targets[0].box[1]: found true, expected a number"),
    "null in box": (target(box=[0, 0, None, 2]), "2: targets[0].box[2]: found null, expected a number"),
    "NaN in box": (
        target(box=[0, 0, float("nan"), 2]),
        "2: targets[0].box[2]: NaN and Infinity are not numbers of JSON",
    ),
    "infinite box": (
        target(box=[0, 0, 3, float("inf")]),
        "2: targets[0].box[3]: NaN and Infinity are not numbers of JSON",
    ),
    "NaN in facts": (
        record(facts={"a": [1, float("nan")]}),
        "2: facts.a[1]: NaN and Infinity are not numbers of JSON",
    ),
    "reversed x": (
        target(box=[5, 0, 3, 2]),
        "2: targets[0].box: [5, 0, 3, 2] has right < left; expected [left",
    ),
    "reversed y": (
        target(box=[0, 3, 3, 2]),
        "2: targets[0].box: [0, 3, 3, 2] has bottom < top; expected [left",
    ),
    "any as number": (target(any=1), "2: targets[0].any: found the number 1, expected true or false"),
    "category number": (target(category=3), "2: targets[0].category: found the number 3, expected text"),
    "target id list": (
        target(id=[1]),
        "2: targets[0].id: found a list of 1 value, expected a whole number or text",
    ),
    "short polygon": (
        target(polygons=[[0, 0, 1, 1]]),
        "2: targets[0].polygons[0]: found a list of 4 values, expected x, y pairs of 3",
    ),
    "text polygon": (target(polygons="x"), "2: targets[0].polygons: found the text 'x', expected a list of"),
    "mask of other size": (
        target(mask={"size": [6, 4], "counts": "o0"}),
        "2: targets[0].mask.size: [6, 4] is not the image's [height, width] = [4, 6]",
    ),
    "mask too short": (
        target(mask=MASK),
        "2: targets[0].mask.counts: the runs cover 20 pixels, the image has 24",
    ),
    "mask of runs": (
        target(mask={"size": [4, 6], "counts": [3, 21]}),
        "2: targets[0].mask.counts: expected the text of a COCO compressed RLE",
    ),
    "mask of rubbish": (
        target(mask={"size": [4, 6], "counts": "é!"}),
        "2: targets[0].mask.counts: not the text of a COCO compressed RLE",
    ),
    "mask cut off": (
        target(mask={"size": [4, 6], "counts": "`"}),
        "2: targets[0].mask.counts: the text of the RLE ends in the middle of a number",
    ),
    "mask of a huge run": (
        target(mask={"size": [4, 6], "counts": "o" * 20 + "0"}),
        "2: targets[0].mask.counts: a run of the RLE is longer than any image",
    ),
    "mask as list": (
        target(mask=[[0, 1]]),
        "2: targets[0].mask: found a list of 1 value, expected an object",
    ),
    "mask key": (
        target(mask={"sizes": [4, 6]}),
        "2: targets[0].mask.sizes: unknown field, did you mean 'size'?",
    ),
    "ignore mask": (
        record(ignore={"size": [1, 1], "counts": "1"}),
        "2: ignore.size: [1, 1] is not the image's",
    ),
    "no file": (image(file=""), "2: image.file: '' leaves the image root"),
    "absolute file": (image(file="/etc/passwd"), "2: image.file: '/etc/passwd' leaves the image root"),
    "parent file": (image(file="a/../../b.jpg"), "2: image.file: 'a/../../b.jpg' leaves the image root"),
    "float width": (
        image(width=6.5),
        "2: image.width: found the number 6.5, expected a whole number of pixels",
    ),
    "zero height": (
        image(height=0),
        "2: image.height: found the number 0, expected a whole number of pixels",
    ),
    "image key": (image(hight=4), "2: image.hight: unknown field, did you mean 'height'?"),
    "text as list": (record(text=["a"]), "2: text: found a list of 1 value, expected text"),
    "half surrogate": (record(text="a\ud800"), "2: text: half of a surrogate pair"),
    "references as text": (
        record(references="a"),
        "2: references: found the text 'a', expected a list of captions",
    ),
    "reference number": (record(references=["a", 1]), "2: references[1]: found the number 1, expected text"),
    "label of two": (
        record(labels={"red": 2}),
        "2: labels.red: found the number 2, expected 1 (present) or 0",
    ),
    "label truth": (record(labels={"red": True}), "2: labels.red: found true, expected 1 (present) or 0"),
    "second header": (HEADER, "2: format: a second header line; were two files joined?"),
}

BROKEN_LINES = {
    "torn record": (
        b'{"id": "a", "image": {"fi',
        "2: not JSON: Unterminated string",
        "was the file copied completely?",
    ),
    "empty line": (b"", "2: not JSON: Expecting value", "where the line ends"),
    "single quotes": (b"{'id': 'a'}", "2: not JSON: Expecting property name", "at \"'id': 'a'}\""),
    "key twice": (b'{"id": "a", "id": "b"}', "2: id: this key stands twice in one object", "keep one"),
    "Latin-1": (b'{"id": "\xe9"}', "2: byte 9 of the line is not UTF-8", "save the file as UTF-8"),
    "deep nesting": (b"[" * 200_000, "2: not usable JSON", "recursion"),
    "endless number": (b'{"id": ' + b"9" * 5000 + b"}", "2: not usable JSON", "limit"),
    "overflow": (
        json.dumps(target(box=[0, 0, 3, 2])).replace("3", "1e999").encode(),
        "2: targets[0].box[2]: inf is not a finite number",
        "pixels",
    ),
}

BROKEN_HEADERS = {
    "no header": (
        RECORD,
        '1: format: no header; the first line must be one like {"format": "refkit.records/1"',
    ),
    "later version": (
        {**HEADER, "format": "refkit.records/2"},
        "1: format: version 'refkit.records/2' is not known here; this refkit reads 'refkit.records/1'. Update",
    ),
    "predictions": (
        {**HEADER, "format": "refkit.predictions/1"},
        "1: format: this is a prediction file (refkit.predictions/1), expected a records file",
    ),
    "foreign format": ({**HEADER, "format": 7}, "1: format: found the number 7, expected 'refkit.records/1'"),
    "no split": (without(HEADER, "split"), "1: split: missing, expected a short name"),
    "dotted split": ({**HEADER, "split": "a.b"}, "1: split: found the text 'a.b', expected letters, digits"),
    "other spelling": (
        {**HEADER, "dataset": "refcoco+", "split_by": "unc"},
        "1: dataset: 'refcoco+.unc.val' is spelt 'refcocoplus.unc.val' in refkit",
    ),
    "unknown task": ({**HEADER, "task": ["rex"]}, "1: task: unknown task 'rex'; did you mean 'res'?"),
    "odd task": ({**HEADER, "task": ["zzz"]}, "1: task: unknown task 'zzz'; expected one of rec, res"),
    "task as text": ({**HEADER, "task": "rec"}, "1: task: found the text 'rec', expected a list out of rec"),
    "negative count": ({**HEADER, "records": -1}, "1: records: found the number -1, expected a whole number"),
    "short digest": ({**HEADER, "digest": "sha256:12"}, "1: digest: found the text 'sha256:12', expected"),
    "source as list": ({**HEADER, "source": []}, "1: source: found a list of 0 values, expected an object"),
    "misspelt header key": (
        {**HEADER, "image_rot": "x"},
        "1: image_rot: unknown field, did you mean 'image_root'?",
    ),
}


def write(path, *lines):
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return path


def complaint(path):
    with pytest.raises(RecordError) as caught:
        list(iter_records(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(f"{path}:")


@pytest.mark.parametrize("kind", BROKEN_RECORDS)
def test_broken_record(tmp_path, kind):
    line, expected = BROKEN_RECORDS[kind]
    path = write(tmp_path / "made.jsonl", HEADER, line)
    assert complaint(path).startswith(expected)


@pytest.mark.parametrize("kind", BROKEN_RECORDS)
def test_check_goes_on_after_a_broken_record(tmp_path, kind):
    line, expected = BROKEN_RECORDS[kind]
    path = write(tmp_path / "made.jsonl", HEADER, line, RECORD, target(box=[0, 0, 99, 2]) | {"id": "b"})
    report = check_file(path, images=False)
    assert [problem.line for problem in report.problems] == [2, 4]
    assert str(report.problems[0]).startswith(expected)
    assert not report.ok


@pytest.mark.parametrize("kind", BROKEN_LINES)
def test_broken_line(tmp_path, kind):
    line, start, part = BROKEN_LINES[kind]
    message = complaint(write(tmp_path / "made.jsonl", HEADER, line))
    assert message.startswith(start) and part in message


@pytest.mark.parametrize("kind", BROKEN_HEADERS)
def test_broken_header(tmp_path, kind):
    line, expected = BROKEN_HEADERS[kind]
    path = write(tmp_path / "made.jsonl", line, RECORD)
    assert complaint(path).startswith(expected)
    with pytest.raises(RecordError, match=re.escape(expected)):
        read_header(path)
    report = check_file(path, images=False)
    assert str(report.problems[0]).startswith(expected)


@pytest.mark.parametrize(
    ("field", "stated", "expected"),
    [
        ("records", 3, "1: records: the header says 3, the file holds 2; is the file complete?"),
        ("images", 2, "1: images: the header says 2, the file holds 1; is the file complete?"),
        (
            "digest",
            "sha256:" + "0" * 64,
            "1: digest: the header says sha256:000000000000…, the records give sha256:",
        ),
        (
            "digest_masks",
            "sha256:" + "1" * 64,
            "1: digest_masks: the header says sha256:111111111111…, the records",
        ),
    ],
)
def test_header_that_disagrees_with_its_records(tmp_path, field, stated, expected):
    path = write(tmp_path / "made.jsonl", {**HEADER, field: stated}, RECORD, record(id="b"))
    assert complaint(path).startswith(expected)
    for read in (read_records, RecordFile):
        with pytest.raises(RecordError, match=re.escape(expected)):
            read(path)
    assert not path.with_name("made.jsonl.idx").exists()
    [problem] = check_file(path, images=False).problems
    assert str(problem).startswith(expected)


def test_an_id_that_stands_twice(tmp_path):
    path = write(tmp_path / "made.jsonl", HEADER, RECORD, record(id="b"), RECORD)
    assert complaint(path) == "4: id: 'a' stands on line 2 already; every record needs an id of its own"
    assert [problem.line for problem in check_file(path, images=False).problems] == [4]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", " the file is empty, expected a header line and records"),
        (b"\xef\xbb\xbf{}\n", "1: the file is UTF-8 with a byte order mark (BOM); save it as plain UTF-8"),
        ("{}\n".encode("utf-16"), "1: the file is UTF-16; save it as plain UTF-8"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "1: this is a Git LFS pointer, not the file itself",
        ),
        (b"\x00\x01\x02\n", "1: not JSON: Expecting value at column 1"),
    ],
)
def test_files_of_another_kind(tmp_path, content, expected):
    path = tmp_path / "made.jsonl"
    path.write_bytes(content)
    assert complaint(path).removeprefix(str(path)).startswith(expected)


@pytest.mark.parametrize("damage", ["cut", "bits", "trailer"])
def test_damaged_gzip(tmp_path, records_file, damage):
    packed = bytearray(gzip.compress(records_file.read_bytes()))
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "bits":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed[-1] ^= 0xFF
    path = tmp_path / "damaged.jsonl.gz"
    path.write_bytes(packed)
    message = complaint(path)
    assert "the gzip stream is cut off or damaged" in message or damage == "bits"
    with pytest.raises(RecordError):
        RecordFile(path)


def test_missing_file_and_folder(tmp_path, records_file):
    with pytest.raises(RecordError, match=r"no such file; did you mean .*made\.jsonl\?"):
        read_header(tmp_path / "mades.jsonl")
    with pytest.raises(RecordError, match=r"no such file$"):
        RecordFile(tmp_path / "absent" / "zzz")
    with pytest.raises(RecordError, match="is a folder, expected a records file"):
        RecordFile(tmp_path)


def test_own_fields_are_kept_and_come_back(tmp_path):
    mine = record(photographer={"name": "N"}, sentence_number=4)
    path = write(tmp_path / "made.jsonl", {**HEADER, "curator": "me"}, mine)
    header, [found] = read_records(path)
    assert found.extra == {"photographer": {"name": "N"}, "sentence_number": 4}
    assert header.extra == {"curator": "me"}
    assert found.to_json()["sentence_number"] == 4 and header.to_json()["curator"] == "me"
