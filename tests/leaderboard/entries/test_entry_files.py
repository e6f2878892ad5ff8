"""The schema of entries and their files, with what strangers may write into them."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refkit.leaderboard.entries.files import (
    LONGEST_NAME,
    EntryError,
    inside,
    load_entries,
    read_entry,
    read_notes,
    slug,
    write_entry,
)
from refkit.leaderboard.entries.schema import SETTINGS, Entry


def fields(**changes):
    result = {
        "records": "refcoco.unc.val",
        "protocol": "rec/transvg",
        "value": {"acc50": 0.8732},
        "source": {"work": "hivg", "table": "Table 1", "row": 12, "quoted": 87.32},
    }
    return {
        "format": "refkit.entry/1",
        "task": "rec",
        "method": "HiVG-B",
        "training": {"setting": "single_dataset/vl_selfsup_init"},
        "status": "reported",
        "results": [result],
        **changes,
    }


def reproduced(**changes):
    digest = "sha256:" + "a" * 64
    result = {
        "records": "refcoco.unc.val",
        "records_digest": digest,
        "protocol": "rec/1",
        "value": {"acc50": 0.8732, "acc50_interval": [0.86, 0.88], "coverage": 1.0, "invalid": 0.0},
        "predictions": {"file": "predictions/rec/x/a.jsonl", "sha256": "b" * 64},
        **changes,
    }
    return fields(status="reproduced", results=[result])


def put(tmp_path, content, task="rec"):
    path = tmp_path / task / "x.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def test_an_entry_survives_its_file(tmp_path):
    entry = Entry.model_validate(reproduced())
    path = write_entry(tmp_path, "HiVG B", entry)
    assert path == tmp_path / "rec" / "hivg-b.yaml"
    found = read_entry(path)
    assert found.entry == entry and found.name == "hivg-b"
    before = path.read_bytes()
    write_entry(tmp_path, "HiVG B", found.entry)
    assert path.read_bytes() == before


def test_results_answer_what_a_board_asks():
    result = Entry.model_validate(reproduced()).results[0]
    assert (result.dataset, result.split) == ("refcoco.unc", "val")
    assert result.metrics == {"acc50": 0.8732}
    assert result.interval("acc50") == (0.86, 0.88) and result.interval("miou") is None


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_admitted(setting):
    entry = Entry.model_validate(fields(training={"setting": setting}))
    assert entry.setting_group == setting.split("/")[0]


def test_mixed_is_the_group_of_mixed_pretraining():
    assert Entry.model_validate(fields(training={"setting": "mixed"})).setting_group == "mixed_pretraining"


def test_a_date_may_stand_without_quotes(tmp_path):
    path = put(tmp_path, yaml.safe_dump(fields()) + "date: 2026-03-01\n")
    assert read_entry(path).entry.date == "2026-03-01"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (fields(methd="x"), "methd: unknown key"),
        (fields(status="measured"), "status: Input should be"),
        (fields(method=""), "method: expected one line"),
        (fields(method="a\nb"), "method: expected one line"),
        (fields(method="x" * 81), "method: String should have at most 80"),
        (
            fields(training={"setting": "single"}),
            "training.setting: no such setting; there are single_dataset",
        ),
        (fields(paper={"url": "javascript:alert(1)"}), "paper.url: expected an address"),
        (fields(paper={"url": 'https://x.org/"onload='}), "paper.url: expected an address"),
        (fields(paper={"year": "2024"}), "paper.year: Input should be a valid integer"),
        (fields(results=[]), "results: List should have at least 1"),
        (reproduced(protocol="res/1"), "results[0].protocol: res/1 does not score rec"),
        (reproduced(protocol=None), "a reproduced result needs protocol"),
        (
            reproduced(predictions={"file": "../../etc/passwd", "sha256": "b" * 64}),
            "predictions.file: expected a path below",
        ),
        (
            reproduced(predictions={"file": "/etc/passwd", "sha256": "b" * 64}),
            "predictions.file: expected a path below",
        ),
        (
            reproduced(predictions={"file": "C:\\x", "sha256": "b" * 64}),
            "predictions.file: expected a path below",
        ),
        (reproduced(value={"acc50": float("nan")}), "value.acc50: expected a finite number"),
        (reproduced(value={"acc50_interval": [0.1, 0.2]}), "an interval without its metric"),
        (reproduced(value={"acc50": [0.1, 0.2]}), "expected a number, or [low, high]"),
        (reproduced(value={"coverage": 1.0}), "value: no metric"),
        (reproduced(value={"<b>": 1.0}), "is no name of a metric"),
        (reproduced(records="refcoco"), "records: String should match"),
        (reproduced(overlap={"how": "computed"}), "expected 'images' unless"),
        (reproduced(overlap={"how": "unknown", "images": 3}), "expected 'images' unless"),
        ("- a list", "expected an entry of keys and values"),
        ("a: &x [1]\nb: *x\n", "aliases (*name) are not allowed"),
        ("format: 1\nformat: 2\n", "the key 'format' stands twice at line 1"),
        ("a: [" * 20_000, "not usable as YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not usable as YAML"),
        ("x" * ((1 << 20) + 1), "larger than 1,048,576 bytes"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(tmp_path, content, message):
    path = put(tmp_path, content)
    with pytest.raises(EntryError) as caught:
        read_entry(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < 1500


def test_reported_numbers_need_a_source():
    broken = fields()
    del broken["results"][0]["source"]
    with pytest.raises(ValueError, match="a reported result needs source"):
        Entry.model_validate(broken)


def test_bytes_that_are_no_utf8(tmp_path):
    path = put(tmp_path, "")
    path.write_bytes(b"method: \xff")
    with pytest.raises(EntryError, match="byte 9 is not UTF-8"):
        read_entry(path)


def test_a_task_has_its_own_folder(tmp_path):
    with pytest.raises(EntryError, match="belongs into a folder"):
        read_entry(put(tmp_path, fields(), "res"))
    with pytest.raises(EntryError, match="'wrong' is no task"):
        put(tmp_path, fields(), "wrong")
        load_entries(tmp_path)
    with pytest.raises(EntryError, match="no such folder"):
        load_entries(tmp_path / "nowhere")


@given(st.text(max_size=300))
def test_any_text_gives_a_safe_file_name(text):
    name = slug(text)
    assert 0 < len(name) <= LONGEST_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.startswith("-")


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "link").symlink_to(tmp_path)
    with pytest.raises(EntryError, match="leads out"):
        inside(tmp_path / "board", "link/secret.jsonl")
    assert inside(tmp_path / "board", "a/b.jsonl") == (tmp_path / "board" / "a" / "b.jsonl").resolve()


def test_notes_are_optional_and_checked(tmp_path):
    assert read_notes(tmp_path) == {"notes": [], "sources": {}}
    (tmp_path / "notes.yaml").write_text("notes: [1]\nsources: {}\n")
    with pytest.raises(EntryError, match="a list of texts"):
        read_notes(tmp_path)
