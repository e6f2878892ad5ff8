"""Every foreign format, as its program writes it, becomes a prediction file with the right score."""

import csv
import gzip
import io
import json
import sys
import zipfile

import pytest
from foreign_files import BOXES, HEIGHT, WIDTH, accuracy, convert, lines, put

from refkit.data.records import Header, ImageRef, Record, Target, read_records, write_records
from refkit.leaderboard.predictions import read_predictions
from refkit.leaderboard.readers.answers import AnswerError
from refkit.leaderboard.readers.convert import FORMATS
from refkit.leaderboard.scoring import score


def unit(box):
    return [round(value / side, 6) for value, side in zip(box, (WIDTH, HEIGHT) * 2, strict=True)]


def thousandths(box):
    return [round(1000 * value) for value in unit(box)]


def test_coco_results(tmp_path, records):
    rows = [
        {"image_id": 100 + n, "category_id": 1, "bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "score": 0.9}
        for n, b in enumerate(BOXES)
    ]
    worse = [{"image_id": 100 + n, "bbox": [0, 0, 5, 5], "score": 0.1} for n in range(12)]
    report, out = convert("coco", put(tmp_path, "a.json", worse + rows), records, "xywh-pixel")
    assert accuracy(records, out) == 1.0 and report.written == 12
    assert read_predictions(out)[1]["toy.100"].scores.tolist() == [0.9, 0.1]


def test_coco_masks_and_captions(tmp_path, records):
    mask = {"size": [HEIGHT, WIDTH], "counts": "abc"}
    rows = [
        {"image_id": 100, "segmentation": mask, "score": 0.2},
        {"image_id": 101, "caption": "a man\u2028in red"},
    ]
    _, out = convert("coco", put(tmp_path, "a.json", rows), records)
    answers = read_predictions(out)[1]
    assert answers["toy.100"].mask == mask and answers["toy.100"].boxes is None
    assert answers["toy.101"].caption == "a man\u2028in red"


def test_lmms_eval_samples(tmp_path, records):
    rows = [
        {"doc_id": n, "doc": {"question_id": "x"}, "resps": [["wrong"]], "filtered_resps": [f"{unit(b)}"]}
        for n, b in enumerate(BOXES)
    ]
    rows[3]["filtered_resps"] = ["I cannot see it."]
    rows[4] = {"doc_id": 4, "resps": [[str(unit(BOXES[4]))]]}
    report, out = convert(
        "lmms-eval",
        put(tmp_path, "a.jsonl", lines([{"task_name": "rec", "config": {}}, *rows])),
        records,
        "xyxy-unit",
    )
    assert accuracy(records, out) == pytest.approx(11 / 12)
    assert report.unparsable == 1 and report.examples[0].endswith("a.jsonl:5")
    found = read_predictions(out)[1]["toy.103"]
    assert (found.status, found.raw, len(found.boxes)) == ("unparsable", "I cannot see it.", 0)


def table_rows():
    return [
        ["index", "question", "prediction"],
        *(
            [str(n), f'say "{n}"', f"<box>({t[0]},{t[1]}),({t[2]},{t[3]})</box>"]
            for n, t in enumerate(map(thousandths, BOXES))
        ),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_vlmevalkit_tables(tmp_path, records, name, delimiter):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(table_rows())
    _, found = convert(
        "vlmevalkit", put(tmp_path, name, "\ufeff" + out.getvalue()), records, "xyxy-thousandths"
    )
    assert score(records, found, draws=0)["acc75"] == 1.0


def workbook(rows, shared=True):
    texts = [cell for row in rows for cell in row]
    escape = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    plain = ["".join(escape.get(c, c) for c in text) for text in texts]
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    number = iter(range(len(texts)))
    cells = [
        "".join(
            f'<c r="{"ABC"[column]}{line}" t="s"><v>{next(number)}</v></c>'
            if shared
            else f'<c t="inlineStr"><is><t>{plain[next(number)]}</t></is></c>'
            for column in range(len(row))
        )
        for line, row in enumerate(rows, start=1)
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f"<worksheet {space}><sheetData>{''.join(f'<row>{c}</row>' for c in cells)}</sheetData></worksheet>",
        )
        archive.writestr(
            "xl/sharedStrings.xml",
            f"<sst {space}>{''.join(f'<si><t>{text}</t></si>' for text in plain)}</sst>",
        )
    return out.getvalue()


@pytest.mark.parametrize("shared", [True, False])
def test_vlmevalkit_spreadsheets(tmp_path, records, shared):
    _, out = convert(
        "vlmevalkit", put(tmp_path, "a.xlsx", workbook(table_rows(), shared)), records, "xyxy-thousandths"
    )
    assert score(records, out, draws=0)["acc75"] == 1.0


def test_spreadsheets_are_limited_and_declare_no_entities(tmp_path, records):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w") as archive:
        entity = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>'
        archive.writestr("xl/worksheets/sheet1.xml", entity)
    for content in (bomb.getvalue(), b"PK\x03\x04 no", b"no zip"):
        with pytest.raises((AnswerError, ValueError)) as caught:
            convert("vlmevalkit", put(tmp_path, "a.xlsx", content), records)
        assert type(caught.value).__module__.startswith("refkit")


def test_ref_l4(tmp_path, records):
    rows = [{"id": f"toy.{100 + n}", "pred_bbox": list(b), "format": "xyxy"} for n, b in enumerate(BOXES)]
    b = BOXES[1]
    rows[1] = {"id": "toy.101", "pred_bbox": [b[0], b[1], b[2] - b[0], b[3] - b[1]], "format": "xywh"}
    _, out = convert("ref-l4", put(tmp_path, "a.json", rows), records)
    assert accuracy(records, out) == 1.0


@pytest.mark.parametrize("as_list", [True, False])
def test_mdetr_dumps(tmp_path, records, as_list):
    answers = {
        str(100 + n): {"boxes": [[0, 0, 1, 1], list(b)], "scores": [0.1, 0.8]} for n, b in enumerate(BOXES)
    }
    content = [{"image_id": int(key), **value} for key, value in answers.items()] if as_list else answers
    _, out = convert("mdetr", put(tmp_path, "a.json", content), records)
    assert accuracy(records, out) == 1.0


@pytest.mark.parametrize("content", [b"\x80\x04\x95", b"PK\x03\x04"])
def test_pickles_are_never_opened(tmp_path, records, content):
    with pytest.raises(AnswerError, match="a pickle, which could run code"):
        convert("mdetr", put(tmp_path, "a.pth", content), records)


def test_raw_texts_by_picture_and_expression(tmp_path, records):
    rows = [
        {"image_id": n // 2, "expression": f"THING {n}", "raw_output": f"[{b[0]}, {b[1]}, {b[2]}, {b[3]}]"}
        for n, b in enumerate(BOXES)
    ]
    packed = put(tmp_path, "a.jsonl.gz", gzip.compress(lines(rows).encode()))
    report, out = convert("text", packed, records, match="text")
    assert accuracy(records, out) == 1.0 and report.warning is None
    rows = [
        {"image": f"x/{n // 2:012d}.jpg", "text": f"thing {n}", "answer": str(list(b))}
        for n, b in enumerate(BOXES)
    ]
    _, out = convert("text", put(tmp_path, "b.json", rows), records, match="text")
    assert accuracy(records, out) == 1.0


def test_repeated_texts_are_handed_out_one_by_one(tmp_path):
    path = tmp_path / "r.jsonl"
    write_records(
        path,
        Header("toy", "mine", "val"),
        [
            Record(f"t.{n}", ImageRef("a.jpg", 9, 9, 1), "dog", [Target(box=(0.0, 0.0, 5.0, 5.0))])
            for n in range(2)
        ],
    )
    rows = [{"image_id": 1, "text": "dog", "answer": f"[0,0,{n},5]"} for n in (5, 6)]
    _, out = convert("text", put(tmp_path, "a.json", rows), path, match="text")
    assert [answer.boxes[0][2] for answer in read_predictions(out)[1].values()] == [5, 6]
    with pytest.raises(AnswerError, match="1 answers match no record by picture and expression"):
        convert("text", put(tmp_path, "a.json", [*rows, rows[0]]), path, match="text")


def test_the_last_of_several_boxes_on_demand(tmp_path, records):
    rows = [{"id": f"toy.{100 + n}", "answer": f"[0,0,5,5] {list(b)}"} for n, b in enumerate(BOXES)]
    source = put(tmp_path, "a.json", rows)
    assert accuracy(records, convert("text", source, records)[1]) == 0.0
    assert accuracy(records, convert("text", source, records, last_box=True)[1]) == 1.0


def test_pixels_of_the_network_input(tmp_path, records):
    scaled = [[b[0] * 2, b[1] * 4, b[2] * 2, b[3] * 4] for b in BOXES]
    rows = [{"id": f"toy.{100 + n}", "answer": str(b)} for n, b in enumerate(scaled)]
    source = put(tmp_path, "a.json", rows)
    with pytest.raises(AnswerError, match=r"row 1: boxes of the space xyxy-input need .*--input-size"):
        convert("text", source, records, "xyxy-input")
    assert accuracy(records, convert("text", source, records, "xyxy-input", input_size=(400, 400))[1]) == 1.0
    rows = [{**row, "input_size": [400, 400]} for row in rows]
    assert accuracy(records, convert("text", put(tmp_path, "b.json", rows), records, "xyxy-input")[1]) == 1.0


def test_boxes_of_another_space_are_doubted(tmp_path, records):
    rows = [{"id": f"toy.{100 + n}", "answer": str(unit(b))} for n, b in enumerate(BOXES)]
    report, _ = convert("text", put(tmp_path, "a.json", rows), records)
    assert "fit the unit square, but --space declares 'xyxy-pixel'" in report.warning


def test_the_header_says_where_answers_come_from(tmp_path, records):
    _, out = convert("text", put(tmp_path, "a.json", [{"id": "toy.100", "answer": "[1,2,3,4]"}]), records)
    header, _ = read_predictions(out)
    assert header.records_digest == read_records(records)[0].digest and header.box == "xyxy-pixel"
    assert header.settings["imported_from"] == "text" and len(header.settings["source_sha256"]) == 64


def test_answers_to_other_records_are_refused_or_counted(tmp_path, records):
    rows = [{"id": "toy.100", "answer": "[1,2,3,4]"}, {"id": "toy.999", "answer": "[1,2,3,4]"}]
    source = put(tmp_path, "a.json", rows)
    with pytest.raises(AnswerError, match=r"1 answers match no record by the record's id: .*row 2"):
        convert("text", source, records)
    assert not records.with_name("out.jsonl").exists()
    report, _ = convert("text", source, records, skip_unmatched=True)
    assert (report.written, report.unmatched, report.records) == (1, 1, 12)
    with pytest.raises(AnswerError, match="is answered at"):
        convert("text", put(tmp_path, "b.json", [rows[0], rows[0]]), records)
    with pytest.raises(AnswerError, match="no answer matches any record"):
        convert("text", put(tmp_path, "c.json", [rows[1]]), records, skip_unmatched=True)


@pytest.mark.parametrize("options", [{"kind": "csv"}, {"space": "pixels"}, {"match": "luck"}])
def test_choices_are_told(tmp_path, records, options):
    chosen = {"kind": "text", "space": "xyxy-pixel"} | options
    with pytest.raises(AnswerError, match="there are"):
        convert(chosen.pop("kind"), put(tmp_path, "a.json", []), records, **chosen)


WRONG = {
    "coco": [
        [{"bbox": [1, 2, 3, 4]}],
        [{"image_id": 100, "bbox": [1, 2]}],
        [{"image_id": True}],
        [{"image_id": 100, "segmentation": [[1, 2]]}],
        [{"image_id": 100, "bbox": [1, 2, 3, "4"]}],
        [{"image_id": 100, "caption": 7}],
    ],
    "lmms-eval": [
        [{"doc_id": "1"}],
        [{"doc_id": 1}],
        [{"doc_id": 1, "filtered_resps": [[]]}],
        [{"doc_id": 0, "filtered_resps": [7]}],
    ],
    "ref-l4": [
        [{"id": "toy.100"}],
        [{"id": "toy.100", "pred_bbox": [1, 2, 3, 4], "format": "cxcywh"}],
        [{"id": [1], "pred_bbox": [1, 2, 3, 4]}],
    ],
    "mdetr": [
        7,
        [7],
        {"100": []},
        {"100": {"boxes": [[1, 2, 3, 4]], "scores": []}},
        {"100": {"boxes": 7}},
        {"100": {"boxes": [[10**400, 2, 3, 4]]}},
    ],
    "text": [
        {"a": 1},
        [7],
        [{"id": "toy.100"}],
        [{"id": "toy.100", "answer": "x", "input_size": [0, 1]}],
        "x" * 10,
    ],
}


@pytest.mark.parametrize(
    ("kind", "content"), [(kind, content) for kind, contents in WRONG.items() for content in contents]
)
def test_broken_rows_are_refused_with_their_place(tmp_path, records, kind, content):
    source = put(tmp_path, "a.json", content)
    with pytest.raises(AnswerError) as caught:
        convert(kind, source, records)
    assert str(source) in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "vlmevalkit"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe[", id="other encoding"),
        pytest.param(b"[" * 100_000, id="nested too deep"),
        pytest.param(b"\x1f\x8b\x08\x00cut", id="no archive"),
        pytest.param(b"{", id="open brace"),
        pytest.param(b"null", id="null"),
        pytest.param(gzip.compress(b"[]")[:-4], id="archive cut short"),
        pytest.param(b'[{"id": 1}', id="open bracket"),
    ],
)
def test_files_that_are_not_json(tmp_path, records, kind, content):
    with pytest.raises(AnswerError):
        convert(kind, put(tmp_path, "a.json", content), records, FORMATS[kind].space or "xyxy-pixel")


@pytest.mark.parametrize(
    "content",
    ["", "a\tb\n1\t2\n", "index\tprediction\nx\t[1,2,3,4]\n", 'index\tprediction\n0\t"' + "x" * 200_000],
)
def test_tables_that_are_none(tmp_path, records, content):
    with pytest.raises(AnswerError):
        convert("vlmevalkit", put(tmp_path, "a.tsv", content), records)


def test_nan_and_infinity_are_failed_answers(tmp_path, records):
    rows = '[{"id": "toy.100", "pred_bbox": [NaN, 1, 2, 3]}, {"id": "toy.101", "pred_bbox": [1, 2, Infinity, 3]}]'
    _, out = convert("ref-l4", put(tmp_path, "a.json", rows), records)
    assert [answer.status for answer in read_predictions(out)[1].values()] == ["failed", "failed"]


@pytest.mark.shared
def test_published_answers_of_vlm_r1(shared, tmp_path):
    """All 28 files from their raw text; the one logged as 0.0 had rescaled boxes that were pixels already."""
    folder = shared / "data" / "predictions"
    index = {
        row["file"]: row for row in json.loads((folder / "index.json").read_text()) if "vlm_r1" in row["file"]
    }
    for file, row in list(index.items())[::9]:
        path = folder.parent / file
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        records = tmp_path / "r.jsonl"
        found = [
            Record(
                f"v.{n}",
                ImageRef(r["image"], 10_000, 10_000, r["image_id"]),
                r["expression"],
                [Target(box=tuple(r["gt_bbox_xyxy"]))],
            )
            for n, r in enumerate(rows)
        ]
        write_records(records, Header("refcoco", "vlmr1", "val"), found)
        _, out = convert("text", path, records, match="text", last_box=True)
        published = 89.4 if file.endswith("refcoco_val_baseline.jsonl.gz") else row["published_accuracy"]
        assert round(100 * score(records, out, "rec/inclusive", draws=0)["acc50"], 6) == published, file


def test_without_supervision_the_remedy_is_told(tmp_path, records, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(AnswerError, match=r"pip install 'refkit\[answers\]'"):
        convert("gemini", put(tmp_path, "a.json", []), records, "xyxy-unit")
