import json

import numpy as np
import pytest
from PIL import Image

from refkit import rle
from refkit.data.check import check_file
from refkit.data.records import ImageRef, Target, write_records


def box_mask(left, top, right, bottom):
    mask = np.zeros((48, 64), bool)
    mask[top:bottom, left:right] = True
    return rle.encode(mask)


BOX = (1.5, 2.0, 30.25, 40.0)
PROBLEMS = {
    "empty text": ({"text": "  "}, {}, "text: empty. Write the expression or remove the record", "error"),
    "no text": ({"text": None}, {}, "text: missing, and the file's task takes text", "error"),
    "separator": (
        {"text": "a\u2028b"},
        {},
        "text: control character '\\u2028'. Replace it by a blank",
        "warning",
    ),
    "tab in caption": ({"references": ["a\tb"]}, {}, "references: control character '\\t'", "warning"),
    "no area": (
        {"targets": [Target((3.0, 4.0, 3.0, 9.0))]},
        {},
        "targets[0].box: [3.0, 4.0, 3.0, 9.0] has no area. Correct the box",
        "error",
    ),
    "outside": (
        {"targets": [Target(BOX), Target((10.0, 10.0, 80.5, 20.0))]},
        {},
        "targets[1].box: [10.0, 10.0, 80.5, 20.0] leaves the 64 x 48 image by 16.50 pixels. Is it [x, y, width",
        "error",
    ),
    "negative": (
        {"targets": [Target((-3.0, 1.0, 5.0, 5.0))]},
        {},
        "leaves the 64 x 48 image by 3.00 pixels",
        "error",
    ),
    "empty mask": (
        {"targets": [Target(BOX, box_mask(0, 0, 0, 0))]},
        {},
        "targets[0].mask: the mask is empty. Remove the mask, or the target",
        "error",
    ),
    "mask elsewhere": (
        {"targets": [Target(BOX, box_mask(40, 2, 60, 40))]},
        {},
        "targets[0].mask: the mask spans [40.0, 2.0, 60.0, 40.0], the box is [1.5",
        "warning",
    ),
    "no box": (
        {"targets": [Target(mask=box_mask(1, 1, 5, 5))]},
        {},
        "targets[0].box: missing, and the file's task is rec",
        "error",
    ),
    "no mask": (
        {},
        {"task": ["res"]},
        "targets[0].mask: missing, and the file's task needs masks",
        "warning",
    ),
    "other size": (
        {"image": ImageRef("000000.jpg", 65, 48, 0), "object": None},
        {},
        "image: 000000.jpg has another size or number on line 2. One picture has one size",
        "error",
    ),
    "other object": (
        {"object": "object.0"},
        {},
        "object: 'object.0' has another image or other targets on line 2. Expressions of one object",
        "error",
    ),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_kind_of_problem(tmp_path, made_header, make_record, kind):
    changes, header, expected, severity = PROBLEMS[kind]
    path = tmp_path / "made.jsonl"
    number = {"no text": 4, "other object": 4}.get(kind, 2)
    records = [make_record(0, targets=[Target(BOX, box_mask(2, 2, 30, 40))], object="object.0")]
    records.append(make_record(number, **{"object": "object.x", **changes}))
    write_records(path, made_header(**header), records)
    [problem] = check_file(path, images=False).problems
    assert problem.line == 3 and problem.record == f"made.{number}" and problem.severity == severity
    assert expected in str(problem)
    assert check_file(path, images=False).ok == (severity == "warning")


def test_a_good_file_has_no_problem(records_file):
    report = check_file(records_file, images=False)
    assert report.ok and report.problems == []
    assert (report.name, report.records, report.images, report.images_read) == ("made.test.val", 10, 3, 0)


def test_boxes_may_stick_out_by_rounding(tmp_path, made_header, make_record):
    path = tmp_path / "made.jsonl"
    write_records(path, made_header(), [make_record(0, targets=[Target((-0.5, 0.0, 64.9, 48.0))])])
    assert check_file(path, images=False).problems == []


def test_captions_need_no_text(tmp_path, made_header, make_record):
    path = tmp_path / "made.jsonl"
    write_records(path, made_header(task=["caption"]), [make_record(0, text=None, references=["a dog"])])
    assert check_file(path, images=False).problems == []


def test_all_problems_of_all_lines_are_listed_in_order(tmp_path, made_header, make_record):
    path = tmp_path / "made.jsonl"
    write_records(path, made_header(), [make_record(n, object=None) for n in range(5)])
    lines = path.read_text().splitlines()
    broken = json.loads(lines[3])
    broken["targets"] = [{"box": [0, 0, 0, 99]}, {"box": [70, 0, 80, 9]}]
    lines[3] = json.dumps(broken)
    lines[1] = lines[1][:-9]
    lines[5] = lines[5].replace("made.4", "made.3")
    path.write_text("\n".join(lines))
    report = check_file(path, images=False)
    assert [(problem.line, problem.field) for problem in report.problems] == [
        (2, ""),
        (4, "targets[0].box"),
        (4, "targets[0].box"),
        (4, "targets[1].box"),
        (6, "id"),
    ]


@pytest.fixture
def pictures(tmp_path, records_file):
    """Pictures of the three images of the made file: good, of another size, and not a picture; one is missing later."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(folder / f"{number:06d}.jpg")
    return folder


def test_good_pictures(records_file, pictures):
    report = check_file(records_file, image_root=pictures)
    assert report.ok and report.images_read == 3


def test_bad_pictures_are_listed_once_with_the_first_line_that_names_them(records_file, pictures):
    Image.new("RGB", (32, 24)).save(pictures / "000000.jpg")
    data = (pictures / "000001.jpg").read_bytes()
    (pictures / "000001.jpg").write_bytes(data[: len(data) // 2])
    (pictures / "000002.jpg").unlink()
    report = check_file(records_file, image_root=pictures)
    assert [problem.line for problem in report.problems] == [2, 6, 10]
    assert all(problem.field == "image.file" for problem in report.problems)
    reasons = [problem.reason for problem in report.problems]
    assert "is 32 x 24 pixels, the record says 64 x 48" in reasons[0]
    assert "cannot be read" in reasons[1]
    assert "'000002.jpg' is not below" in reasons[2]
    assert report.images_read == 0 and not report.ok


def test_the_header_and_the_data_root_lead_to_the_pictures(
    tmp_path, made_header, make_record, pictures, monkeypatch
):
    path = tmp_path / "made.jsonl"
    write_records(path, made_header(image_root="pictures"), [make_record(0)])
    assert check_file(path, root=tmp_path).images_read == 1
    monkeypatch.setenv("REFKIT_DATA", str(tmp_path))
    assert check_file(path).images_read == 1


def test_a_missing_folder_is_one_problem_not_one_per_picture(records_file, tmp_path):
    [problem] = check_file(records_file, image_root=tmp_path / "absent").problems
    assert problem.field == "image_root" and "is no folder, so no picture was checked" in problem.reason
    assert "--no-images" in problem.remedy


def test_progress_is_reported(records_file, pictures):
    calls = []

    def track(items, total, title):
        calls.append((total, title))
        return items

    check_file(records_file, image_root=pictures, track=track)
    assert calls == [(3, "pictures")]


@pytest.mark.shared
def test_the_public_evaluation_splits_have_no_problem(evaluation_files):
    for path in evaluation_files.values():
        assert check_file(path, images=False).problems == []
