"""The prediction file: what is written is what is read, and every broken line says what is wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refkit.leaderboard.predictions import (
    PredictionError,
    PredictionHeader,
    as_written,
    load_predictions,
    read_prediction_header,
    read_predictions,
    round_boxes,
    write_predictions,
)
from refkit.leaderboard.schema import prediction_to_json, to_line
from refkit.leaderboard.validation import parse_line, parse_prediction
from refkit.structures import Prediction

HEADER = {"format": "refkit.predictions/1", "records": "toy.synthetic.val", "model": "m", "box": "xyxy-pixel"}


def written(path, *lines, header=HEADER):
    text = "\n".join(json.dumps(line) if isinstance(line, dict) else line for line in (header, *lines))
    path.write_text(text + "\n", encoding="utf-8")
    return path


def same(a: Prediction, b: Prediction) -> bool:
    arrays_equal = all(
        (getattr(a, name) is None and getattr(b, name) is None)
        or np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("boxes", "scores")
    )
    rest = ("id", "mask", "caption", "attributes", "categories", "no_target", "status", "raw")
    return arrays_equal and all(getattr(a, name) == getattr(b, name) for name in rest)


EVERYTHING = [
    Prediction("a", np.array([[1.23456789, 2, 3, 4], [5, 6, 7, 8]]), np.array([0.9, 0.1])),
    Prediction("b", np.zeros((0, 4)), status="unparsable", raw='it is "there"\n\u2028 in 1e9 words \ud800'),
    Prediction("c", mask={"size": [4, 6], "counts": "04P1"}, no_target=False),
    Prediction("d", caption="ein roter Mantel, 赤いコート"),
    Prediction("e", attributes={"color:red": 0.83}, categories={"person": 0.91}),
    Prediction("f", no_target=True),
]


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz"])
def test_what_is_written_is_read(tmp_path, name):
    header = PredictionHeader(
        "toy.synthetic.val", "sha256:0", "m", settings={"prompt": None, "resolution": 224}
    )
    path = tmp_path / name
    assert write_predictions(path, header, EVERYTHING) == 6
    found, predictions = read_predictions(path)
    assert found == header
    assert list(predictions) == [one.id for one in EVERYTHING]
    for one in EVERYTHING:
        assert same(predictions[one.id], as_written(one)), one.id
    assert read_prediction_header(path) == header


def test_equal_predictions_give_equal_bytes(tmp_path):
    header = PredictionHeader("toy.synthetic.val", "sha256:0", "m")
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_predictions(tmp_path / name, header, EVERYTHING)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@given(
    boxes=arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)),
    scores=arrays(np.float32, 3, elements=st.floats(0, 1, width=32)),
)
def test_the_file_does_not_change_a_bit(boxes, scores):
    memory = as_written(Prediction("a", boxes, scores))
    read, _ = parse_prediction(
        parse_line(to_line(prediction_to_json(Prediction("a", boxes, scores)))), "xyxy-pixel"
    )
    assert read.boxes.tobytes() == memory.boxes.tobytes()
    assert read.scores.tobytes() == memory.scores.tobytes()
    assert as_written(read).boxes.tobytes() == memory.boxes.tobytes()


def test_rounding_is_idempotent_and_has_no_negative_zero():
    once = round_boxes([[-0.00001, 0.12345, 1 / 3, 2e5 + 1e-5]])
    assert np.array_equal(round_boxes(once), once)
    assert not np.signbit(once[0, 0])
    assert once.tolist() == [[0.0, 0.1234, 0.3333, 200000.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_answers_with_nan_has_failed(bad):
    box = [0.0, 0.0, 1.0, 1.0]
    for prediction in (
        Prediction("a", np.array([box, [0, 0, 1, bad]])),
        Prediction("a", np.array([box]), np.array([bad])),
    ):
        result = as_written(prediction)
        assert (len(result.boxes), result.scores, result.status) == (0, None, "failed")
        line = to_line(prediction_to_json(prediction))
        assert parse_prediction(parse_line(line), "xyxy-pixel")[0].status == "failed"


@pytest.mark.parametrize("field", ["tags", "attributes", "categories"])
def test_scores_of_names_keep_single_precision_or_fail(field):
    scores = np.nextafter(np.float32(0.7), np.float32(1), dtype=np.float32), np.float32(0.7), np.float32(3e-9)
    written = getattr(as_written(Prediction("a", **{field: dict(zip("abc", scores, strict=True))})), field)
    assert written["a"] > written["b"] > written["c"] > 0
    assert [np.float32(value) for value in written.values()] == list(scores)
    assert max(len(repr(value)) for value in written.values()) <= 14
    assert getattr(as_written(Prediction("a", **{field: {}})), field) == {}
    failed = as_written(Prediction("a", np.ones((1, 4)), **{field: {"x": 0.5, "y": float("nan")}}))
    assert (getattr(failed, field), len(failed.boxes), failed.status) == (None, 0, "failed")
    assert parse_prediction(parse_line(to_line(prediction_to_json(failed))), "xyxy-pixel")[0] is not None


def test_nan_in_a_foreign_file_is_an_invalid_box_not_a_broken_file(tmp_path):
    path = written(tmp_path / "p.jsonl", '{"id": "a", "boxes": [[NaN, 0, Infinity, 1]]}')
    _, predictions = read_predictions(path)
    assert not np.isfinite(predictions["a"].boxes).all()


BROKEN = {
    "not json": ('{"id": "a", "boxes": [[1, 2', r"p.jsonl:2: not JSON: .* column \d+"),
    "not an object": ("[1, 2]", "p.jsonl:2: found a list of 2 values, expected one JSON object per line"),
    "key twice": ('{"id": "a", "id": "b"}', "p.jsonl:2: id: this key stands twice"),
    "no id": ('{"boxes": []}', "p.jsonl:2: id: missing or empty"),
    "number as id": ('{"id": 3}', "p.jsonl:2: id: found the number 3, expected text"),
    "misspelt field": (
        '{"id": "a", "box": [1, 2, 3, 4]}',
        "p.jsonl:2: box: unknown field; did you mean 'boxes'",
    ),
    "field of one's own": (
        '{"id": "a", "my_note": 1}',
        r"p.jsonl:2: my_note: unknown field\. Known are: id, ",
    ),
    "boxes not a list": (
        '{"id": "a", "boxes": "1 2 3 4"}',
        "boxes: found the text '1 2 3 4', expected a list",
    ),
    "flat box": ('{"id": "a", "boxes": [1, 2, 3, 4]}', r"boxes\[0\]: .*one box is written \[\[x1"),
    "three numbers": (
        '{"id": "a", "boxes": [[1, 2, 3]]}',
        r"boxes\[0\]: found a list of 3 values, expected four",
    ),
    "text in a box": (
        '{"id": "a", "boxes": [[1, 2, 3, "4"]]}',
        r"boxes\[0\]: found the text '4', expected a number",
    ),
    "null in a box": ('{"id": "a", "boxes": [[1, 2, 3, null]]}', r"found null, .* has \"boxes\": \[\]"),
    "true in a box": ('{"id": "a", "boxes": [[1, 2, 3, true]]}', "found true, expected a number"),
    "huge integer": (
        f'{{"id": "a", "boxes": [[0, 0, 1, 1{"0" * 400}]]}}',
        "beyond the range of floating point",
    ),
    "endless integer": (f'{{"id": "a", "boxes": [[0, 0, 1, 1{"0" * 5000}]]}}', "p.jsonl:2: not usable JSON"),
    "too few scores": ('{"id": "a", "boxes": [[1, 2, 3, 4]], "scores": []}', "scores: 0 scores for 1 boxes"),
    "NaN score": (
        '{"id": "a", "boxes": [[1, 2, 3, 4]], "scores": [NaN]}',
        "scores: a score is NaN or infinite",
    ),
    "scores not a list": (
        '{"id": "a", "boxes": [[1, 2, 3, 4]], "scores": 0.3}',
        "scores: found the number 0.3",
    ),
    "unknown status": (
        '{"id": "a", "status": "meh"}',
        "status: found the text 'meh', expected one of ok, unpars",
    ),
    "status in a list": (
        '{"id": "a", "status": ["ok"]}',
        "status: found a list of 1 value, expected one of ok",
    ),
    "failed with boxes": (
        '{"id": "a", "boxes": [[1, 2, 3, 4]], "status": "failed"}',
        "'failed' together with 1",
    ),
    "mask of pixels": ('{"id": "a", "mask": [[0, 1]]}', "mask: found a list of 1 value, expected COCO RLE"),
    "mask without size": ('{"id": "a", "mask": {"counts": "04"}}', "mask: .* expected COCO RLE"),
    "flag as text": (
        '{"id": "a", "no_target": "no"}',
        "no_target: found the text 'no', expected true or false",
    ),
    "caption list": ('{"id": "a", "caption": ["x"]}', "caption: found a list of 1 value, expected text"),
    "attribute text": ('{"id": "a", "attributes": {"red": "yes"}}', "attributes.red: found the text 'yes'"),
    "categories list": (
        '{"id": "a", "categories": ["dog"]}',
        "categories: .* expected an object with a score",
    ),
    "input size": ('{"id": "a", "input_size": [0, 3]}', r"input_size: .* expected \[width, height\]"),
    "second header": (json.dumps(HEADER), "format: a second header line; were two files joined"),
    "deep nesting": ('{"id": ' + "[" * 100_000, "p.jsonl:2: not usable JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_says_where_and_what(tmp_path, name):
    line, message = BROKEN[name]
    path = written(tmp_path / "p.jsonl", line)
    with pytest.raises(PredictionError, match=message):
        load_predictions(path)


def test_an_id_twice_is_an_error(tmp_path):
    path = written(tmp_path / "p.jsonl", {"id": "a"}, {"id": "b"}, {"id": "a"})
    with pytest.raises(PredictionError, match=r"p.jsonl:4: id: 'a' is answered twice"):
        load_predictions(path)
    with pytest.raises(PredictionError, match="'a' is answered twice"):
        write_predictions(tmp_path / "q.jsonl", PredictionHeader("r", model="m"), [Prediction("a")] * 2)
    assert not (tmp_path / "q.jsonl").exists()


BROKEN_HEADERS = {
    "no header": (
        {"id": "a"},
        "p.jsonl:1: format: found no 'format', expected the header of a prediction file",
    ),
    "records file": ({"format": "refkit.records/1"}, "format: found the text 'refkit.records/1'"),
    "no box space": ({**HEADER, "box": None}, "p.jsonl:1: box: missing, expected a header like"),
    "misspelt key": (
        {**{key: value for key, value in HEADER.items() if key != "box"}, "boxes": "xyxy-pixel"},
        "p.jsonl:1: box: missing; did you mean 'box' where 'boxes' stands?",
    ),
    "no such space at all": ({**HEADER, "box": "zzz"}, r"box: no box space 'zzz'\. There are: xyxy-pixel, "),
    "no model": ({**HEADER, "model": ""}, "model: missing"),
    "unknown space": (
        {**HEADER, "box": "xyxy-pixels"},
        "box: no box space 'xyxy-pixels'; did you mean 'xyxy-pixel'",
    ),
    "number as name": ({**HEADER, "records": 3}, "records: found the number 3, expected text"),
    "escape codes": ({**HEADER, "model": "a\x1b[31mb"}, "model: .* expected one line of printable text"),
    "settings list": ({**HEADER, "settings": [1]}, "settings: found a list of 1 value, expected an object"),
}


@pytest.mark.parametrize("name", BROKEN_HEADERS)
def test_a_broken_header_says_what_is_expected(tmp_path, name):
    header, message = BROKEN_HEADERS[name]
    with pytest.raises(PredictionError, match=message):
        read_prediction_header(written(tmp_path / "p.jsonl", header=header))


def test_unknown_header_keys_are_kept(tmp_path):
    path = written(tmp_path / "p.jsonl", header={**HEADER, "hardware": "2 cores"})
    header = read_prediction_header(path)
    assert header.extra == {"hardware": "2 cores"}
    assert header.to_json()["hardware"] == "2 cores"


def test_files_that_are_no_files(tmp_path):
    with pytest.raises(PredictionError, match=r"absent\.jsonl: no such file"):
        load_predictions(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(PredictionError, match="empty"):
        load_predictions(tmp_path / "empty.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(json.dumps(HEADER).encode() + b'\n{"id": "\xe9"}\n')
    with pytest.raises(PredictionError, match=r"latin.jsonl:2: byte 9 of the line is not UTF-8"):
        load_predictions(tmp_path / "latin.jsonl")


def test_a_truncated_gzip_is_an_error(tmp_path):
    path = tmp_path / "p.jsonl.gz"
    write_predictions(
        path, PredictionHeader("r", model="m"), [Prediction(f"{i}", caption="x" * i) for i in range(500)]
    )
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PredictionError, match="gzip stream is cut off or damaged"):
        load_predictions(path)


def test_line_ends_and_blank_lines_do_not_matter(tmp_path):
    path = tmp_path / "p.jsonl"
    text = json.dumps(HEADER) + '\r\n{"id": "a"}\r\n\n{"id": "b", "caption": "one\u2028two"}'
    path.write_bytes(text.encode())
    _, predictions = read_predictions(path)
    assert predictions["b"].caption == "one\u2028two"
    assert list(predictions) == ["a", "b"]


def test_spaces_are_converted_on_reading(tmp_path):
    sizes = {"a": (200, 100)}
    want = [[20.0, 30.0, 120.0, 90.0]]
    for space, box, more in (
        ("xywh-pixel", [20, 30, 100, 60], {}),
        ("xyxy-unit", [0.1, 0.3, 0.6, 0.9], {}),
        ("xyxy-input", [10, 60, 60, 180], {"input_size": [100, 200]}),
    ):
        path = written(
            tmp_path / "p.jsonl", {"id": "a", "boxes": [box], **more}, header={**HEADER, "box": space}
        )
        header, predictions = read_predictions(path, sizes)
        assert header.box == "xyxy-pixel"
        assert predictions["a"].boxes == pytest.approx(np.array(want))


def test_a_space_that_needs_image_sizes_says_so(tmp_path):
    path = written(tmp_path / "p.jsonl", {"id": "a", "boxes": []}, header={**HEADER, "box": "xyxy-unit"})
    for sizes in (None, {"b": (1, 1)}):
        with pytest.raises(PredictionError, match=r"p.jsonl:1: box: 'xyxy-unit' needs the image sizes"):
            read_predictions(path, sizes)


def test_input_space_needs_the_input_size_on_the_line(tmp_path):
    path = written(
        tmp_path / "p.jsonl", {"id": "a", "boxes": [[1, 2, 3, 4]]}, header={**HEADER, "box": "xyxy-input"}
    )
    with pytest.raises(PredictionError, match=r"p.jsonl:2: input_size: missing"):
        load_predictions(path)


def test_only_pixels_are_written(tmp_path):
    with pytest.raises(PredictionError, match="as 'xyxy-pixel' only, not as 'xyxy-unit'"):
        write_predictions(tmp_path / "p.jsonl", PredictionHeader("r", model="m", box="xyxy-unit"), [])
    with pytest.raises(PredictionError, match="status: found 'odd'"):
        write_predictions(
            tmp_path / "p.jsonl", PredictionHeader("r", model="m"), [Prediction("a", status="odd")]
        )
    assert list(tmp_path.iterdir()) == []


def test_masks_of_pycocotools_are_written_as_text():
    prediction = Prediction(
        "a",
        mask={"size": np.array([2, 2]), "counts": b"04"},
        categories={"dog": np.float32(0.5)},
        no_target=np.True_,
    )
    memory = as_written(prediction)
    assert memory.mask == {"size": [2, 2], "counts": "04"}
    read, _ = parse_prediction(parse_line(to_line(prediction_to_json(prediction))), "xyxy-pixel")
    assert same(read, memory)
