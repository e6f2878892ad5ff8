import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refkit import rle
from refkit.cli.main import main
from refkit.data.records import Header, ImageRef, Record, Target, read_header, read_records, write_records

PUBLIC = ("refcoco_val", "refcoco_testA", "refcoco_testB", "refcocoplus_val", "refcocoplus_testA")
PUBLIC += ("refcocoplus_testB", "refcocog_val", "refcocog_test")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("REFKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("REFKIT_DATA", raising=False)


@pytest.fixture
def run(capsys):
    """``run(*words) -> (exit code, standard output, standard error)`` of ``refkit data …``."""

    def call(*words):
        with pytest.raises(SystemExit) as caught:
            main(["data", *map(str, words)])
        streams = capsys.readouterr()
        return caught.value.code or 0, streams.out, streams.err

    return call


def make(path, dataset="made", count=4, image_root="pictures", text="dog [red]", **changes):
    mask = np.zeros((48, 64), bool)
    mask[10:20, 10:30] = True
    target = Target((10.0, 10.0, 30.0, 20.0), rle.encode(mask), category="dog")
    fields = {"targets": [target], **changes}
    records = [
        Record(f"{dataset}.{n}", ImageRef(f"{n // 2}.png", 64, 48, n // 2), f"{text} {n}", **fields)
        for n in range(count)
    ]
    write_records(path, Header(dataset, "test", "val", image_root=image_root), records)
    return path


@pytest.fixture
def data_root(tmp_path):
    """A data root with a records file and its two pictures."""
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC).save(
            tmp_path / "pictures" / f"{number}.png"
        )
    make(tmp_path / "made.jsonl")
    return tmp_path


def test_check_of_a_good_file(run, data_root):
    code, out, _ = run("check", data_root / "made.jsonl", "--data-root", data_root)
    assert code == 0
    assert "made.test.val: 4 records, 2 images, 2 pictures read: no problem" in out
    code, out, _ = run("check", data_root / "made.jsonl", "--no-images")
    assert code == 0 and "pictures not opened: no problem" in out


def test_check_lists_problems_and_leaves_with_one(run, data_root):
    path = make(data_root / "bad.jsonl", targets=[Target((10.0, 10.0, 99.0, 20.0))])
    code, out, _ = run("check", path, data_root / "made.jsonl", "--no-images")
    assert code == 1
    assert (
        f"{path}:2: targets[0].box: [10.0, 10.0, 99.0, 20.0] leaves the 64 x 48 image by 35.00 pixels. Is it"
        in out
    )
    assert "made.test.val: 4 records, 2 images, pictures not opened: 4 errors, 0 warnings" in out
    code, out, _ = run("check", path, "--no-images", "--json")
    [report] = json.loads(out)
    assert (
        code == 1 and not report["ok"] and [problem["line"] for problem in report["problems"]] == [2, 3, 4, 5]
    )


def test_check_folds_warnings_that_repeat(run, data_root):
    path = data_root / "masks.jsonl"
    records = [
        Record(
            f"r{index}",
            ImageRef("0.png", 64, 48),
            "a\tdog" if index in (3, 7) else "dog",
            [Target((1.0, 1.0, 9.0, 9.0))] * (1 + index % 2),
        )
        for index in range(8)
    ]
    write_records(path, Header("made", "test", "val", task=["res"]), records)
    code, out, _ = run("check", path, "--no-images")
    masks, captions, summary = out.splitlines()
    assert code == 0
    assert masks.startswith(f"{path}:2: targets[0].mask: missing") and masks.endswith(
        "otherwise (12 such warnings, also on line 3, 4, 5, 6 …)"
    )
    assert captions.startswith(f"{path}:5: text: control") and captions.endswith(
        "(2 such warnings, also on line 9)"
    )
    assert summary.endswith("0 errors, 14 warnings")
    assert len(json.loads(run("check", path, "--no-images", "--json")[1])[0]["problems"]) == 14


def test_check_of_missing_pictures(run, data_root):
    code, out, _ = run("check", data_root / "made.jsonl", "--data-root", data_root / "absent")
    assert code == 1 and "is no folder, so no picture was checked. Set --data-root, REFKIT_DATA" in out


def test_a_file_that_cannot_be_read_leaves_with_two_and_no_traceback(run, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    for words in (["stats", tmp_path / "a.jsonl"], ["check", tmp_path / "zzz"], ["audit", "zzz", "zzz"]):
        code, _, err = run(*words)
        assert code == 2 and err.startswith("refkit: ") and "Traceback" not in err
    assert "no such file: zzz" in err


def test_stats_prints_tables_and_json(run, data_root):
    code, out, _ = run("stats", data_root / "made.jsonl")
    assert code == 0 and "expressions" in out and "dog 4" in out and "sha256:" in out
    code, out, _ = run("stats", data_root / "made.jsonl", "--json")
    [stats] = json.loads(out)
    assert (stats["expressions"], stats["images"], stats["masks"]) == (4, 2, 4)


def test_stats_of_a_known_set_with_other_counts(run, data_root):
    records = [Record("a", ImageRef("1.jpg", 9, 9), "x", [Target((0.0, 0.0, 4.0, 4.0))])]
    write_records(data_root / "known.jsonl", Header("refcoco", "unc", "val"), records)
    code, out, _ = run("stats", data_root / "known.jsonl")
    assert code == 1 and "expressions: 1 published 10,834" in out


def test_audit_by_number_and_content(run, data_root):
    (data_root / "copies").mkdir()
    Image.open(data_root / "pictures" / "1.png").resize((80, 60)).save(data_root / "copies" / "0.png")
    make(data_root / "other.jsonl", dataset="other", count=2, image_root="copies")
    words = (
        data_root / "made.jsonl",
        data_root / "made.jsonl",
        data_root / "other.jsonl",
        "--data-root",
        data_root,
    )
    code, out, _ = run("audit", *words)
    assert code == 0
    assert "Trained on made.test.val" in out and "2 (100.0%)" in out and "4 (100.0%)" in out
    assert "2 training images, 2 of them evaluated on, 0 left without these" in out
    assert "1 of them under different numbers" in out
    _, out, _ = run("audit", *words, "--json")
    report = json.loads(out)
    assert report["evaluation"]["other.test.val"]["images_in_training"] == 0
    assert [pair["same_number"] for pair in report["hashes"]["pairs"]].count(False) == 1
    _, out, _ = run("audit", *words, "--no-hashes", "--json")
    assert json.loads(out)["hashes"] is None


def test_audit_of_image_lists(run, data_root):
    lists = data_root / "lists.json"
    lists.write_text('{"made.test.val": [1, 5], "more": [0]}')
    code, out, _ = run(
        "audit", f"{lists}:made.test.val", data_root / "made.jsonl", "--also-train", f"{lists}:more", "--json"
    )
    report = json.loads(out)
    assert code == 0 and report["train"] == ["made.test.val", "more"] and report["train_images"] == 3
    assert report["evaluation"]["made.test.val"]["expressions_on_training_images"] == 2
    assert report["hashes"]["train"] == {"hashed": 0, "without_picture": 3, "unreadable": 0}
    _, out, _ = run("audit", data_root / "made.jsonl", f"{lists}:more")
    assert "more" in out and " - " in out


@pytest.mark.parametrize("name", ["out.png", "out.html"])
def test_show(run, data_root, name):
    out_file = data_root / name
    code, out, _ = run(
        "show", data_root / "made.jsonl", "--data-root", data_root, "--out", out_file, "--count", 3
    )
    assert code == 0 and out.strip() == str(out_file) and out_file.stat().st_size > 1000
    code, _, err = run(
        "show", data_root / "made.jsonl", "--data-root", data_root, "--out", out_file, "--id", "zzz"
    )
    assert code == 2 and "has no record zzz" in err


def test_import_of_plain_lines(run, tmp_path):
    entry = {
        "image": "a/1.jpg",
        "width": 64,
        "height": 48,
        "dataset": "mine",
        "split_by": "own",
        "split": "train",
    }
    entry |= {
        "image_id": 1,
        "expressions": ["the dog", "left dog"],
        "bbox": [1, 2, 30, 20],
        "segmentation": None,
    }
    (tmp_path / "records.jsonl").write_text(json.dumps(entry) + "\n")
    code, out, _ = run("import", "jsonl", tmp_path / "records.jsonl", "--out", tmp_path / "out")
    assert code == 0 and "mine.own.train.jsonl: 2 records, 1 images" in out
    header, records = read_records(tmp_path / "out" / "mine.own.train.jsonl")
    assert header.name == "mine.own.train" and [record.text for record in records] == ["the dog", "left dog"]
    assert records[0].targets[0].box == (1.0, 2.0, 31.0, 22.0)


def test_import_of_lines_that_are_all_invalid_writes_nothing(run, tmp_path):
    line = {"image": "9.jpg", "width": 640, "height": 480, "expressions": "star", "bbox": [10, 20, 30, 40]}
    (tmp_path / "records.jsonl").write_text(json.dumps(line))
    words = ("import", "jsonl", tmp_path / "records.jsonl", "--out", tmp_path / "out")
    code, _, err = run(*words)
    assert code == 2 and "records.jsonl: line 1: expressions: found a text, expected a list" in err
    code, out, err = run(*words, "--skip-invalid")
    assert (code, out) == (2, "")
    assert err.count("nothing is usable, so nothing was written") == 1
    assert not list((tmp_path / "out").glob("*"))


def test_import_errors_are_plain(run, tmp_path):
    code, _, err = run("import", "jsonl", tmp_path / "absent.jsonl", "--out", tmp_path)
    assert code == 2 and "absent.jsonl does not exist" in err
    code, _, err = run("import", "coco", tmp_path, "--out", tmp_path)
    assert code == 2 and "--name" in err, "required options are asked for"
    code, _, err = run("import", "zzz", "--out", tmp_path)
    assert code == 2 and "zzz" in err


def test_import_of_the_embedded_set(run, tmp_path):
    words = (
        "--scenes",
        3,
        "--seed",
        5,
        "--images",
        tmp_path / "pictures",
        "--out",
        tmp_path / "shapes.jsonl",
    )
    code, out, _ = run("import", "refshapes", *words)
    assert code == 0 and "3 images" in out
    assert read_header(tmp_path / "shapes.jsonl").images == 3
    code, out, _ = run("check", tmp_path / "shapes.jsonl", "--image-root", tmp_path / "pictures")
    assert (code, "3 pictures read: no problem" in out) == (0, True), out


@pytest.mark.parametrize(
    "name", ["check", "stats", "audit", "show", "import", "import refer", "import refshapes"]
)
def test_help_has_an_example(run, name):
    code, out, _ = run(*name.split(), "--help")
    assert code == 0
    assert name == "import" or f"refkit data {name}" in " ".join(out.split())


@pytest.mark.shared
def test_import_and_check_of_all_public_expressions(run, shared, tmp_path):
    """57,457 expressions."""
    folder = shared / "data" / "refcoco_full_eval"
    code, out, _ = run(
        "import", "jsonl", *(folder / f"{name}.jsonl.gz" for name in PUBLIC), "--out", tmp_path / "out"
    )
    assert code == 0 and out.count("(as published)") == 8
    files = sorted(Path(tmp_path / "out").glob("*.jsonl"))
    code, out, _ = run("check", *files, "--no-images")
    assert code == 0 and out.count("no problem") == 8
    assert sum(read_header(path).records for path in files) == 57_457
    code, out, _ = run("stats", *files)
    assert code == 0 and out.count("as published") == 24
