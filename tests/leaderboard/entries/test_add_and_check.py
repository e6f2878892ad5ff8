"""From a prediction file to an entry, and the entry computed again."""

import gzip

import pytest
from board_scene import add_wobble, write_answers, write_refshapes

from refkit.data.records import Header, ImageRef, Record, Target, read_records, write_records
from refkit.leaderboard.entries.add import MethodCard, add_baselines, add_predictions
from refkit.leaderboard.entries.check import check_entries
from refkit.leaderboard.entries.files import EntryError, load_entries, read_entry
from refkit.leaderboard.entries.overlap import find_overlap, training_set
from refkit.leaderboard.entries.sources import RecordShelf, drawn_of, redraw
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.scoring import score
from refkit.structures import Prediction


def check(folder, *shelves):
    return check_entries(folder, load_entries(folder), RecordShelf(shelves))


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def real_records(path, name, images, split="val"):
    records = [
        Record(
            f"{name}.{image}.{n}",
            ImageRef(f"{image}.jpg", 100, 100, image),
            "a dog",
            [Target(box=(1.0, 2.0, 30.0, 40.0))],
        )
        for image in images
        for n in range(2)
    ]
    return write_records(path, Header("refcoco", name, split), records)


def perfect(records, out):
    header, found = read_records(records)
    answers = (Prediction(record.id, boxes=[record.targets[0].box]) for record in found)
    write_predictions(out, PredictionHeader.answering(header, "perfect"), answers)
    return out


def test_a_prediction_file_becomes_an_entry(tmp_path):
    folder = tmp_path / "board"
    path, result = add_wobble(folder, tmp_path, 2.0, model={"parameters_m": 3.0}, declared_overlap=0)
    entry = read_entry(path).entry
    assert path == folder / "rec" / "wobble.yaml" and entry.status == "reproduced"
    (found,) = entry.results
    assert found.value["acc50"] == result["acc50"] and 0 < result["acc50"] < 1
    assert found.interval("acc50") == result.metrics["acc50"].interval
    assert found.value["coverage"] == 1.0 and found.records_digest == result.records_digest
    kept = folder / found.predictions.file
    assert kept.read_bytes() == (tmp_path / "2.0.predictions.jsonl").read_bytes()
    assert found.overlap.how == "declared" and found.overlap.images == 0
    assert (found.drawn.seed, found.drawn.scenes) == (1, 12)


def test_what_was_added_checks_without_its_records(tmp_path):
    add_wobble(tmp_path / "board", tmp_path, 2.0)
    report = check(tmp_path / "board")
    assert report.equal == ["rec/wobble: refshapes.seed1.val, rec/1"]
    assert not report.different and not report.not_computed


def test_compressed_files_are_kept_byte_by_byte(tmp_path):
    records = tmp_path / "r.jsonl"
    write_refshapes(records)
    answers = write_answers(records, tmp_path / "p.jsonl.gz", 2.0)
    add_predictions(tmp_path / "board", records, answers, MethodCard("Zip", "zero_shot"), draws=50)
    assert len(check(tmp_path / "board").equal) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("miou: 0.", "miou: 0.1", "miou: 0.1"),
        ("invalid: 0.", "invalid: 0.5", "invalid: 0.5"),
        ("    acc50_interval:\n    - 0.", "    acc50_interval:\n    - 0.0", "acc50_interval"),
        ("  predictions:\n    file: predictions/", "  predictions:\n    file: elsewhere/", "is missing"),
        ("    sha256: ", f"    sha256: '{'0' * 64}' #", "the file was changed"),
        ("    size: 96", "    size: 64", "digest"),
    ],
)
def test_every_changed_number_is_found(tmp_path, old, new, message):
    path, _ = add_wobble(tmp_path / "board", tmp_path, 2.0)
    edit(path, old, new)
    report = check(tmp_path / "board")
    assert not report.equal and message in report.different[0][1]


def test_a_changed_prediction_file_is_found(tmp_path):
    path, _ = add_wobble(tmp_path / "board", tmp_path, 2.0)
    kept = tmp_path / "board" / read_entry(path).entry.results[0].predictions.file
    kept.write_text(kept.read_text().replace('"made_by"', '"made_by "'))
    assert "the file was changed" in check(tmp_path / "board").different[0][1]
    kept.write_text("nonsense")
    assert "not JSON" in check(tmp_path / "board").different[0][1]


def test_records_that_are_not_at_hand_are_named(tmp_path):
    records = tmp_path / "real" / "r.jsonl"
    real_records(records, "unc", range(12))
    answers = perfect(records, tmp_path / "p.jsonl")
    add_predictions(tmp_path / "board", records, answers, MethodCard("P", "single_dataset"), draws=50)
    report = check(tmp_path / "board")
    assert not report.equal and "no records with the digest sha256:" in report.not_computed[0][1]
    assert len(check(tmp_path / "board", tmp_path / "real").equal) == 1


def test_overlap_is_computed_from_image_numbers(tmp_path):
    real_records(tmp_path / "train.jsonl", "unc", range(8, 30), "train")
    real_records(tmp_path / "val.jsonl", "umd", range(12))
    answers = perfect(tmp_path / "val.jsonl", tmp_path / "p.jsonl")
    named = training_set(str(tmp_path / "train.jsonl"))
    assert named.records == "refcoco.unc.train" and named.digest.startswith("sha256:")
    card = MethodCard("P", "mixed_pretraining", trained_on=(named,))
    shelf = RecordShelf([tmp_path])
    path, _ = add_predictions(tmp_path / "b", tmp_path / "val.jsonl", answers, card, shelf=shelf, draws=50)
    overlap = read_entry(path).entry.results[0].overlap
    assert (overlap.how, overlap.images, overlap.expressions) == ("computed", 4, 8)
    assert overlap.share == pytest.approx(1 / 3)
    assert len(check(tmp_path / "b", tmp_path).equal) == 1
    edit(path, "    images: 4", "    images: 0")
    assert "overlap: 0 images in the entry, 4 found" in check(tmp_path / "b", tmp_path).different[0][1]


def test_overlap_is_declared_or_unknown_where_training_records_are_missing(tmp_path):
    real_records(tmp_path / "val.jsonl", "umd", range(12))
    training = [training_set("refcoco.unc.train@sha256:" + "e" * 64)]
    assert find_overlap(tmp_path / "val.jsonl", training, RecordShelf()).how == "unknown"
    declared = find_overlap(tmp_path / "val.jsonl", training, RecordShelf(), declared=7)
    assert (declared.how, declared.images) == ("declared", 7)


def test_scenes_of_different_seeds_are_different_pictures(tmp_path):
    write_refshapes(tmp_path / "train.jsonl", seed=0)
    write_refshapes(tmp_path / "val.jsonl", seed=1)
    shelf = RecordShelf([tmp_path])
    train, val = (training_set(str(tmp_path / name)) for name in ("train.jsonl", "val.jsonl"))
    assert find_overlap(tmp_path / "val.jsonl", [train], shelf).images == 0
    assert find_overlap(tmp_path / "val.jsonl", [val], shelf).share == 1.0


def test_adding_again_replaces_and_other_records_are_kept(tmp_path):
    folder = tmp_path / "board"
    add_wobble(folder, tmp_path, 2.0)
    path, result = add_wobble(folder, tmp_path, 4.0)
    (found,) = read_entry(path).entry.results
    assert found.value["acc50"] == result["acc50"]
    other = tmp_path / "seed2.jsonl"
    write_refshapes(other, seed=2)
    answers = write_answers(other, tmp_path / "two.jsonl", 2.0)
    add_predictions(folder, other, answers, MethodCard("Wobble", "single_dataset"), draws=50)
    add_predictions(folder, other, answers, MethodCard("Wobble", "single_dataset"), "rec/strict-gt", draws=50)
    boards = [(result.records, result.protocol) for result in read_entry(path).entry.results]
    assert boards == [
        ("refshapes.seed1.val", "rec/1"),
        ("refshapes.seed2.val", "rec/1"),
        ("refshapes.seed2.val", "rec/strict-gt"),
    ]
    assert len(check(folder).equal) == 3


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"method": "wobble!"}, "method: this entry says 'Wobble'"),
        ({"status": "verified"}, "status: this entry says 'reproduced'"),
        ({"setting": "zero_shot"}, "training.setting: this entry says"),
        ({"setting": "cheating", "method": "New"}, "training.setting: no such setting"),
        ({"paper": {"url": "javascript:1"}, "method": "New"}, "paper.url: expected an address"),
        ({"model": {"parameters_m": -1.0}, "method": "New"}, "model.parameters_m: Input should be greater"),
    ],
)
def test_another_method_cannot_take_a_name(tmp_path, card, message):
    folder = tmp_path / "board"
    add_wobble(folder, tmp_path, 2.0)
    before = sorted(path for path in folder.rglob("*"))
    with pytest.raises(EntryError) as caught:
        add_wobble(folder, tmp_path, 2.0, **card)
    assert message in str(caught.value)
    assert sorted(path for path in folder.rglob("*")) == before


def test_a_name_can_lead_nowhere_else(tmp_path):
    folder = tmp_path / "board"
    path, _ = add_wobble(folder, tmp_path, 2.0, method="../../../etc/passwd", file_name="../x")
    assert path == folder / "rec" / "x.yaml"
    assert {found.relative_to(tmp_path).parts[0] for found in tmp_path.rglob("*.yaml")} == {"board"}


def test_trivial_predictors_stand_beside(tmp_path):
    write_refshapes(tmp_path / "r.jsonl")
    folder = tmp_path / "board"
    added = list(add_baselines(folder, tmp_path / "r.jsonl", "single_dataset", draws=50))
    assert [path.stem for path, _ in added] == [
        "trivial-random-object",
        "trivial-largest-object",
        "trivial-centre-box",
    ]
    assert all(located.entry.results[0].overlap.images == 0 for located in load_entries(folder))
    assert len(check(folder).equal) == 3


def test_records_are_drawn_again_as_they_were(tmp_path):
    header = write_refshapes(tmp_path / "r.jsonl", seed=5, scenes=4)
    header2, records = redraw(drawn_of(header), "val")
    assert header2.name == header.name and records == read_records(tmp_path / "r.jsonl")[1]
    assert drawn_of(Header("refcoco", "unc", "val", extra={"drawn": {"seed": 1}})) is None
    assert drawn_of(Header("refshapes", "seed1", "val", extra={"drawn": {"seed": -1}})) is None


def test_a_shelf_reads_first_lines_only(tmp_path):
    header = write_refshapes(tmp_path / "deep" / "r.jsonl.gz")
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "noise.jsonl.gz").write_bytes(gzip.compress(b"\x00\x01"))
    shelf = RecordShelf([tmp_path])
    assert shelf.file(header.digest) == shelf.file(header.digest_masks) == tmp_path / "deep" / "r.jsonl.gz"
    assert shelf.file(None) is None and shelf.file("sha256:0") is None
    assert RecordShelf([tmp_path / "deep" / "r.jsonl.gz"]).file(header.digest) is not None
    with pytest.raises(EntryError, match="no such folder"):
        RecordShelf([tmp_path / "nowhere"])


def test_training_sets_are_files_or_names(tmp_path):
    assert training_set("my pictures").digest is None
    for wrong in ("gone.jsonl", "name@sha256:12"):
        with pytest.raises(EntryError):
            training_set(wrong)


def test_the_committed_leaderboard_checks(repository):
    folder = repository / "model_zoo" / "leaderboard"
    report = check_entries(folder, load_entries(folder), RecordShelf())
    assert report.different == [] and report.not_computed == [] and len(report.equal) > 0


def test_a_score_of_the_entry_is_the_score_of_the_file(tmp_path):
    path, _ = add_wobble(tmp_path / "board", tmp_path, 2.0)
    result = read_entry(path).entry.results[0]
    again = score(
        tmp_path / "refshapes.seed1.val.jsonl", tmp_path / "board" / result.predictions.file, draws=200
    )
    assert again["miou"] == result.value["miou"]
