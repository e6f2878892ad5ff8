import gzip
import json

import numpy as np
import pytest
from PIL import Image

from refkit.data.audit import audit
from refkit.data.image_sets import AuditError, images_of_records, load_side
from refkit.data.look_alikes import compare_hashes
from refkit.data.records import ImageRef, RecordError, write_records


@pytest.mark.shared
def test_reproduces_the_exact_overlap_numbers(shared, evaluation_files, splits):
    lists = shared / "data" / "refcoco_family_train_images.json.gz"
    cases = json.loads((shared / "fixtures" / "eval" / "overlap.json").read_text())["cases"]
    evaluation = {name: images_of_records(path) for name, path in evaluation_files.items()}
    by_canonical = {canonical: name for name, canonical in splits.items()}
    assert len(cases) == 3
    for case in cases:
        report = audit(load_side(f"{lists}:{'+'.join(case['train'])}"), list(evaluation.values())).to_json()
        found = {by_canonical[name]: overlap for name, overlap in report["evaluation"].items()}
        assert found == case["evaluation"]
        for field in ("train_images", "train_images_that_are_evaluation_images", "train_images_left"):
            assert report[field] == case[field]


@pytest.mark.shared
def test_google_training_pictures_destroy_the_umd_split(shared, evaluation_files):
    lists = shared / "data" / "refcoco_family_train_images.json.gz"
    sides = [images_of_records(evaluation_files[name]) for name in ("refcocog_val", "refcocog_test")]
    report = audit(load_side(f"{lists}:refcocog.google.train"), sides)
    assert [overlap.images_in_training for overlap in report.evaluation.values()] == [1251, 2497]


@pytest.fixture
def write_pictures(tmp_path, make_record, made_header):
    """``(split, images, dataset) -> path`` of a file with one record per image."""

    def write(split, images, dataset="made"):
        records = [make_record(i, image=image, object=None) for i, image in enumerate(images)]
        write_records(tmp_path / f"{split}.jsonl", made_header(dataset=dataset, split=split), records)
        return tmp_path / f"{split}.jsonl"

    return write


def _numbered(*numbers):
    return [ImageRef(f"{number}.png", 64, 48, number) for number in numbers]


def test_equal_numbers_of_different_collections_are_different_pictures(write_pictures):
    coco = load_side(str(write_pictures("a", _numbered(1, 2, 3), "refcocos")))
    flickr = load_side(str(write_pictures("b", _numbered(1, 2, 3), "flickr30k")))
    also_coco = load_side(str(write_pictures("c", _numbered(3, 3, 4), "ovad")))
    report = audit(coco, flickr + also_coco)
    overlaps = list(report.evaluation.values())
    assert overlaps[0].images_in_training == 0
    assert (overlaps[1].images_in_training, overlaps[1].expressions_on_training_images) == (1, 2)
    assert (report.train_images_that_are_evaluation_images, report.train_images_left) == (1, 2)


def test_image_lists_are_selected_by_key_in_any_spelling(tmp_path):
    path = tmp_path / "lists.json.gz"
    path.write_bytes(
        gzip.compress(json.dumps({"about": "x", "refcoco+.unc.train": [1, 2], "own": [2]}).encode())
    )
    plus, own = load_side(f"{path}:refcocoplus.unc.train+own")
    assert plus.name == "refcocoplus.unc.train" and set(plus.pictures) == {("coco", 1), ("coco", 2)}
    assert set(own.pictures) == {("own", 2)}
    assert load_side(f"{path}:unc+_train")[0].name == "refcocoplus.unc.train"
    overlap = audit([own], [plus]).evaluation["refcocoplus.unc.train"]
    assert overlap.expressions is None and overlap.images == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("lists.json", "holds several lists; choose with"),
        ("lists.json:three", "has no list 'three'; it has one, two"),
        ("absent.json:one", "no such file"),
        ("bad.json:one", "expected a list of whole image numbers"),
        ("text.json:one", "not readable as JSON"),
        ("empty.json:one", "expected an object with lists"),
        ("made.jsonl:one", "is a records file and has no list 'one'"),
    ],
)
def test_wrong_arguments_are_explained(tmp_path, records_file, monkeypatch, argument, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists.json").write_text('{"one": [1], "two": [2]}')
    (tmp_path / "bad.json").write_text('{"one": [1.5]}')
    (tmp_path / "text.json").write_text("hello")
    (tmp_path / "empty.json").write_text("[1]")
    with pytest.raises(AuditError, match=message):
        load_side(argument)


def test_a_broken_records_file_is_refused(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("{}\n")
    with pytest.raises(RecordError, match=r"bad\.jsonl:1: format: no header"):
        load_side(str(path))


def _picture(path, seed):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    coarse.resize((256, 192), Image.Resampling.BICUBIC).save(path)


def test_copies_under_another_name_are_found_by_content(tmp_path, write_pictures):
    for name in ("train", "eval"):
        (tmp_path / name).mkdir()
    for number in range(6):
        _picture(tmp_path / "train" / f"t_{number}.png", number)
    # A re-encoded, smaller copy of training picture 2, and one that only evaluation has.
    Image.open(tmp_path / "train" / "t_2.png").resize((200, 150)).save(
        tmp_path / "eval" / "e_77.jpg", quality=80
    )
    _picture(tmp_path / "eval" / "e_78.png", 99)
    (tmp_path / "eval" / "e_79.png").write_bytes(b"not a picture")

    def side(name, files):
        return images_of_records(write_pictures(name, [ImageRef(file, 64, 48) for file in files]))

    train = side("train", [f"t_{number}.png" for number in range(8)])
    evaluation = side("eval", ["e_77.jpg", "e_78.png", "e_79.png"])
    assert audit([train], [evaluation]).train_images_that_are_evaluation_images == 0
    report = compare_hashes([(train, tmp_path / "train")], [(evaluation, tmp_path / "eval")])
    assert report.train == {"hashed": 6, "without_picture": 2, "unreadable": 0}
    assert report.evaluation == {"hashed": 2, "without_picture": 0, "unreadable": 1}
    [pair] = report.pairs
    assert pair.train.endswith("t_2.png") and pair.evaluation.endswith("e_77.jpg")
    assert not pair.same_number and pair.distance <= 4
    assert report.to_json()["pairs"][0]["distance"] == pair.distance


def test_sides_without_pictures_say_so(records_file):
    side = images_of_records(records_file)
    report = compare_hashes([(side, None)], [(side, records_file.parent / "absent")])
    assert report.pairs == [] and report.train == {"hashed": 0, "without_picture": 3, "unreadable": 0}
    assert report.evaluation == report.train
