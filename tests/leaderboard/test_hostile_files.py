"""Files from strangers: every one ends in a clear error or in a counted invalid answer, never in a traceback or a
wrong score.

`FILES` has more than sixty prediction files. Each is a good file of twelve perfect answers with one thing changed,
and either a piece of the message that it must give or the number of answers that remain right.
"""

import gzip
import io
import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refkit.cli.main import main
from refkit.data.record_scan import LONGEST_LINE
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.leaderboard.prediction_table import PredictionTable
from refkit.leaderboard.predictions import PredictionError, load_predictions
from refkit.leaderboard.scoring import score
from refkit.leaderboard.validation import parse_prediction, plain_answer

COUNT = 12
BOXES = [[5.0 + n, 6.0, 50.0 + n, 40.0] for n in range(COUNT)]
RECORDS = [
    Record(f"t.{n}", ImageRef(f"{n // 2}.jpg", 100, 80, n // 2), f"thing {n}", [Target(box=tuple(box))])
    for n, box in enumerate(BOXES)
]
NAMES = "toy.mine.val"


def header(**changes):
    return {
        "format": "refkit.predictions/1",
        "records": NAMES,
        "records_digest": DIGEST,
        "model": "m",
        "box": "xyxy-pixel",
    } | changes


def rows():
    return [{"id": f"t.{n}", "boxes": [box]} for n, box in enumerate(BOXES)]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "r.jsonl"
    write_records(path, Header("toy", "mine", "val"), RECORDS)
    return path


def _digest():
    from refkit.data.digest import digest

    return digest(RECORDS)


DIGEST = _digest()


def text(lines, head=None):
    return ("\n".join(json.dumps(line) for line in [head or header(), *lines]) + "\n").encode()


GOOD = text(rows())


def changed(**fields):
    """The first answer with other fields; None removes one."""
    first = {name: value for name, value in (rows()[0] | fields).items() if value is not None}
    return text([first, *rows()[1:]])


def raw(old, new):
    """The good file with a piece replaced once."""
    assert old.encode() in GOOD
    new = new if isinstance(new, bytes) else new.encode()
    return GOOD.replace(old.encode(), new, 1)


FIRST = '{"id": "t.0", "boxes": [[5.0, 6.0, 50.0, 40.0]]}'


def nested(depth):
    return raw(FIRST, '{"id": "t.0", "boxes": ' + "[" * depth + "]" * depth + "}")


FILES: dict[str, tuple[bytes, str | int]] = {
    "good": (GOOD, COUNT),
    "good, packed": (gzip.compress(GOOD), COUNT),
    # the file as a whole
    "empty": (b"", "the file is empty"),
    "one line feed": (b"\n", "not JSON"),
    "zero bytes": (b"\0" * 64, "not JSON"),
    "truncated gzip": (gzip.compress(GOOD)[:-20], "cut off or damaged"),
    "gzip with a broken checksum": (gzip.compress(GOOD)[:-8] + b"\0" * 8, "cut off or damaged"),
    "gzip magic and nothing": (b"\x1f\x8b", "cut off or damaged"),
    "gzip of nothing": (gzip.compress(b""), "the file is empty"),
    "two gzip members": (gzip.compress(GOOD[:200]) + gzip.compress(GOOD[200:]), COUNT),
    "gzip and garbage": (gzip.compress(GOOD) + b"garbage", "cut off or damaged"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "UTF-16"),
    "latin-1": (raw('"m"', "\xe9".encode("latin-1").join([b'"', b'"'])), "not UTF-8"),
    "zip file": (b"PK\x03\x04" + b"\0" * 40, "not JSON"),
    "pickle": (b"\x80\x04\x95\x00\x00.", "not UTF-8"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "html page": (b"<!doctype html><p>404", "not JSON"),
    "windows line ends": (GOOD.replace(b"\n", b"\r\n"), COUNT),
    "mixed newlines": (GOOD.replace(b"\n", b"\r\n", 3), COUNT),
    "old mac line ends": (GOOD.replace(b"\n", b"\r"), "not JSON: Extra data"),
    "blank lines": (GOOD.replace(b"\n", b"\n\n"), COUNT),
    "no last line feed": (GOOD[:-1], COUNT),
    "torn last line": (GOOD[:-9], "not JSON"),
    "form feed between lines": (GOOD.replace(b"\n{", b"\n\x0c{", 1), "not JSON"),
    # the header
    "no header": (b"\n".join(GOOD.split(b"\n")[1:]), "expected the header"),
    "header twice": (
        text(rows(), header()).replace(b"\n", b"\n" + json.dumps(header()).encode() + b"\n", 1),
        "a second header line",
    ),
    "header is a list": (raw(json.dumps(header()), "[]"), "expected"),
    "other version": (text(rows(), header(format="refkit.predictions/9")), "refkit.predictions/9"),
    "format is a number": (text(rows(), header(format=1)), "expected the header"),
    "records missing": (text(rows(), header(records=None)), "records: missing"),
    "other digest": (text(rows(), header(records_digest="sha256:" + "0" * 64)), "made for"),
    "no digest": (text(rows(), header(records_digest="")), "records_digest: missing"),
    "unknown space": (text(rows(), header(box="xyxy-pixels")), "did you mean 'xyxy-pixel'"),
    "space is a list": (text(rows(), header(box=["xyxy-pixel"])), "expected text"),
    "model with control characters": (text(rows(), header(model="a\x1b[2Jb")), "printable text"),
    "model of a million characters": (text(rows(), header(model="x" * 10**6)), "shorten it"),
    "settings is a text": (text(rows(), header(settings="fast")), "expected an object"),
    "key twice in the header": (
        raw('"model": "m"', '"model": "m", "model": "n"'),
        "stands twice in one object",
    ),
    # numbers
    "NaN": (raw("5.0, 6.0, 50.0, 40.0", "NaN, 6.0, 50.0, 40.0"), COUNT - 1),
    "Infinity": (raw("5.0, 6.0, 50.0, 40.0", "5.0, 6.0, Infinity, 40.0"), COUNT - 1),
    "1e999": (raw("5.0, 6.0, 50.0, 40.0", "5.0, 6.0, 1e999, 40.0"), COUNT - 1),
    "an integer of 400 digits": (
        raw("5.0, 6.0, 50.0, 40.0", f"{'9' * 400}, 6.0, 50.0, 40.0"),
        "beyond the range",
    ),
    "an integer of 5000 digits": (
        raw("5.0, 6.0, 50.0, 40.0", f"{'9' * 5000}, 6.0, 50.0, 40.0"),
        "not usable JSON",
    ),
    "reversed corners": (changed(boxes=[[50.0, 40.0, 5.0, 6.0]]), COUNT - 1),
    "box without area": (changed(boxes=[[5.0, 6.0, 5.0, 6.0]]), COUNT - 1),
    "huge box": (changed(boxes=[[-1e300, -1e300, 1e300, 1e300]]), COUNT - 1),
    "text for a number": (changed(boxes=[["5", 6.0, 50.0, 40.0]]), "expected a number"),
    "true for a number": (changed(boxes=[[True, 6.0, 50.0, 40.0]]), "expected a number"),
    "null for a number": (raw("[5.0,", "[null,"), "expected a number"),
    "three numbers": (changed(boxes=[[5.0, 6.0, 50.0]]), "expected four numbers"),
    "five numbers": (changed(boxes=[[5.0, 6.0, 50.0, 40.0, 1.0]]), "expected four numbers"),
    "one bare box": (changed(boxes=BOXES[0]), "one box is written [[x1"),
    "boxes is an object": (changed(boxes={"0": BOXES[0]}), "expected a list of boxes"),
    "NaN score": (
        raw('"boxes": [[5.0, 6.0, 50.0, 40.0]]', '"boxes": [[5.0, 6.0, 50.0, 40.0]], "scores": [NaN]'),
        "NaN or infinite",
    ),
    "more scores than boxes": (changed(scores=[0.1, 0.2]), "scores"),
    "no boxes": (changed(boxes=[]), COUNT - 1),
    "nothing but an id": (changed(boxes=None), COUNT - 1),
    "unparsable": (changed(boxes=[], status="unparsable", raw="?"), COUNT - 1),
    # ids
    "id missing": (changed(id=None), "missing or empty"),
    "id empty": (changed(id=""), "missing or empty"),
    "id is a number": (changed(id=7), "expected text"),
    "id of another set": (changed(id="t.99"), "1 of 12 ids are not in"),
    "id with other letters that look alike": (changed(id="t.０"), "1 of 12 ids are not in"),
    "id twice": (text([*rows(), rows()[0]]), "answered twice"),
    "id of a million characters": (changed(id="t" * 10**6), "shorten it"),
    "id with a null character": (changed(id="t.0\0"), "1 of 12 ids are not in"),
    "one answer missing": (text(rows()[1:]), COUNT - 1),
    "no answer": (text([]), 0),
    # fields
    "unknown field": (changed(bboxes=[[1, 2, 3, 4]]), "did you mean 'boxes'"),
    "key twice": (raw('"id": "t.0", ', '"id": "t.0", "id": "t.1", '), "stands twice"),
    "prototype": (changed(__proto__={"boxes": []}), "unknown field"),
    "status unknown": (changed(status="great"), "expected one of ok"),
    "status is a list": (changed(status=["ok"]), "expected one of ok"),
    "a line is a list": (raw(FIRST, "[1, 2]"), "expected"),
    "a line is a number": (raw(FIRST, "7"), "expected"),
    "a line is null": (raw(FIRST, "null"), "expected"),
    "mask is a text": (changed(mask="RLE"), "expected COCO RLE"),
    "mask of negative size": (changed(mask={"size": [-1, 5], "counts": "0"}), "expected COCO RLE"),
    "no_target is a text": (changed(no_target="no"), "expected true or false"),
    "input_size is zero": (changed(input_size=[0, 5]), "input_size"),
    "attributes with NaN": (
        raw('"boxes": [[5.0, 6.0, 50.0, 40.0]]', '"attributes": {"red": NaN}'),
        "finite number",
    ),
    # texts
    "raw text with line separators": (changed(raw="a\u2028b\u2029c\x0bd\x85e"), COUNT),
    "caption with line separators, not escaped": (raw(FIRST, FIRST[:-1] + ', "caption": "a\u2028b"}'), COUNT),
    "caption of a million characters": (changed(caption="x" * 10**6), "shorten it"),
    "raw text of a million characters": (changed(raw="x" * 10**6), COUNT),
    "raw text of two million characters": (changed(raw="x" * 2 * 10**6), "shorten it"),
    "raw text of half a surrogate pair": (raw(FIRST, FIRST[:-1] + ', "raw": "\\ud800"}'), COUNT),
    "raw text of markup": (changed(raw="<script>alert(1)</script>[red]{0}%s"), COUNT),
    "raw text of numbers": (changed(raw="[5, 6, 50, 40]", boxes=[]), COUNT - 1),
    # depth and size
    "nested a thousand times": (nested(1000), "expected"),
    "nested a hundred thousand times": (nested(100_000), "not usable JSON"),
    "a line beyond the limit": (GOOD + b" " * (LONGEST_LINE + 1), "longer than"),
}


def run(arguments, capsys):
    """Exit code and what was printed; an exception that is no exit fails the test."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out
    return left.value.code or 0, printed.out, printed.err


def test_there_are_more_than_sixty_files():
    assert len(FILES) > 60 and len({content for content, _ in FILES.values()}) > 60


@pytest.mark.parametrize("name", FILES)
def test_every_prediction_file_ends_well(tmp_path, records, capsys, name):
    content, expected = FILES[name]
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    code, out, err = run(["score", str(records), str(path), "--json", "-", "--draws", "0"], capsys)
    if isinstance(expected, str):
        message = " ".join(err.split())
        assert code == 2 and out == "" and expected in message, message
        assert "p.jsonl" in message and len(message) < 3000
        return
    assert code == 0, err
    result = json.loads(out)
    assert round(result["metrics"]["acc50"]["value"] * COUNT, 9) == expected
    missing = result["coverage"]["expected"] - result["coverage"]["answered"]
    wrong_box = name in ("huge box", "box without area")
    assert result["invalid"]["n"] + missing + wrong_box == COUNT - expected


@pytest.mark.parametrize("name", FILES)
def test_nothing_hostile_gets_onto_a_leaderboard(tmp_path, records, capsys, name):
    content, expected = FILES[name]
    path, folder = tmp_path / "p.jsonl", tmp_path / "board"
    path.write_bytes(content)
    arguments = ["leaderboard", "add", str(records), str(path), "--method", "M", "--setting", "zero_shot"]
    code, _, _ = run([*arguments, "--folder", str(folder), "--draws", "0"], capsys)
    assert (code == 0) == isinstance(expected, int)
    assert folder.exists() == (code == 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-20], "not JSON"),
        (lambda data: b"\xef\xbb\xbf" + data, "byte order mark"),
        (lambda data: gzip.compress(data)[:-20], "cut off or damaged"),
        (lambda data: data.replace(b"5.0", b"NaN", 1), "not numbers of JSON"),
        (lambda data: data.replace(b"0.jpg", b"../../etc/passwd", 1), "leaves the image root"),
        (lambda data: data.replace(b'"width": 100', b'"width": -1', 1), "width"),
        (lambda data: data.replace(b"thing 0", b"thing 9", 1), "they were changed"),
        (lambda data: data.replace(b'"t.1"', b'"t.0"', 1), "stands on line 2 already"),
        (lambda data: data.replace(b"[5.0, 6.0, 50.0, 40.0]", b"[" * 100_000, 1), "not usable JSON"),
        (lambda data: data + data, "a second header line"),
        (lambda data: b"", "the file is empty"),
    ],
)
def test_hostile_records(tmp_path, records, capsys, change, message):
    path, answers = tmp_path / "r.jsonl", tmp_path / "p.jsonl"
    path.write_bytes(change(records.read_bytes()))
    answers.write_bytes(GOOD)
    code, _, err = run(["score", str(path), str(answers), "--draws", "0"], capsys)
    assert code == 2 and message in " ".join(err.split()), err


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
field_names = st.sampled_from(
    [
        "id",
        "boxes",
        "scores",
        "mask",
        "caption",
        "status",
        "raw",
        "no_target",
        "input_size",
        "attributes",
        "x",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(field_names, json_values, max_size=5), max_size=4))
def test_any_json_is_read_or_refused(tmp_path, records, lines):
    path = tmp_path / "p.jsonl"
    path.write_bytes(text([*rows()[4:], *lines]))
    try:
        result = score(records, path, draws=0)
    except ValueError as error:
        assert type(error).__module__.startswith("refkit")
        return
    assert result["acc50"] >= 8 / COUNT - 1e-9
    assert result.expected == COUNT


numbers = st.floats() | st.integers(-5, 5) | st.just(10**400) | st.booleans() | st.text(max_size=2)
one_answer = st.fixed_dictionaries(
    {
        "id": st.text(max_size=5) | st.integers(),
        "boxes": st.lists(st.lists(numbers, min_size=3, max_size=5), max_size=2) | st.text(max_size=4),
        "scores": st.lists(numbers, max_size=2) | st.none(),
    }
)


@settings(max_examples=300, deadline=None)
@given(one_answer | st.dictionaries(field_names, json_values, max_size=4))
def test_the_quick_way_reads_nothing_that_the_strict_one_refuses(fields):
    plain = plain_answer(fields)
    if plain is None:
        return
    prediction, _ = parse_prediction(fields, "xyxy-pixel")
    table = PredictionTable()
    table.add_boxes(*plain)
    found = table[prediction.id]
    assert np.array_equal(found.boxes, prediction.boxes, equal_nan=True)
    assert np.array_equal(found.scores, prediction.scores)


def test_the_quick_way_takes_the_plain_line():
    assert plain_answer({"id": "a", "boxes": [[0.0, 1.0, 2.0, 3.0]], "scores": [0.5]}) is not None
    assert plain_answer({"id": "a", "boxes": [[0, 1.0, 2.0, 3.0]], "scores": [0.5]}) is None
    assert plain_answer({"id": "a", "boxes": [[0.0, 1.0, 2.0, 3.0]], "scores": [float("nan")]}) is None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_damaged_bytes_never_change_a_score_silently(tmp_path, records, chance: random.Random, count):
    data = bytearray(GOOD)
    for _ in range(count):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path = tmp_path / "p.jsonl"
    path.write_bytes(bytes(data))
    try:
        found = load_predictions(path)
    except PredictionError:
        return
    assert len(found.predictions) <= COUNT


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 400))
def test_a_packed_file_that_was_cut_is_never_scored(tmp_path, records, cut):
    packed = gzip.compress(GOOD)
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(packed[: -min(cut, len(packed) - 3)])
    with pytest.raises(PredictionError):
        load_predictions(path)


def test_a_gzip_bomb_is_stopped_at_its_first_line(tmp_path):
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(b" " * (1 << 20))
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(packed.getvalue())
    assert len(packed.getvalue()) < 1 << 20
    with pytest.raises(PredictionError, match="longer than"):
        load_predictions(path)
