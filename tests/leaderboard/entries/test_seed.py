"""Published numbers as entries: nothing lost, nothing invented."""

import copy

import pytest
import yaml

from refkit.leaderboard.entries.files import EntryError, load_entries, read_notes
from refkit.leaderboard.entries.seed import fraction, seed_entries, write_seed
from refkit.metrics.protocol import protocols

ROW = {
    "id": "rec/hivg-t1/a",
    "task": "rec",
    "metric": "acc@0.5",
    "method": "TransVG",
    "venue": "ICCV",
    "year": 2021,
    "setting": "single_dataset/detector_init",
    "visual_backbone": "RN101+DETR",
    "protocol_read_in_code": "rec/iou-ge; boxes of the ground truth cut to integers; padded square input space",
    "status": "reported",
    "results": {"refcoco": {"val": 81.02, "testA": 82.72}, "referitgame": {"test": 70.73}},
    "source": {"seed": "hivg", "table": "Table 1", "row": 1, "line": 66},
}
SEED = {
    "schema": "refkit-leaderboard-seed/1",
    "about": "As printed.",
    "sources": {"hivg": {"title": "HiVG", "paper": "arXiv", "venue": "ACM MM", "sha256": "x"}},
    "entries": [ROW],
    "conflicts": [],
    "notes": ["A remark."],
    "efficiency": [{"method": "TransVG", "parameters_m": 170}],
}


def other_table(**changes):
    row = copy.deepcopy(ROW)
    row |= {"id": "rec/oneref-t1/a", "source": {"seed": "oneref", "table": "Table 1", "row": 2, "line": 7}}
    return row | changes


def put(tmp_path, *rows, **changes):
    path = tmp_path / "seed.yaml"
    path.write_text(yaml.safe_dump(SEED | {"entries": list(rows) or [ROW]} | changes, sort_keys=False))
    return path


def test_a_row_keeps_its_table_and_its_printed_number(tmp_path):
    entries, notes = seed_entries(put(tmp_path))
    entry = entries["rec", "transvg"]
    assert entry.status == "reported" and entry.model.parameters_m == 170
    assert [result.records for result in entry.results] == [
        "refcoco.unc.val",
        "refcoco.unc.testA",
        "referit.berkeley.test",
    ]
    first = entry.results[0]
    assert first.value == {"acc50": 0.8102} and first.source.quoted == 81.02
    assert (first.source.work, first.source.table, first.source.row) == ("hivg", "Table 1", 1)
    assert first.protocol == "rec/transvg" and "cut to integers" in first.protocol_note
    assert notes["notes"] == ["As printed.", "A remark."] and notes["sources"]["hivg"]["title"] == "HiVG"


def test_a_row_without_a_protocol_does_not_get_one(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "protocol_read_in_code"}
    result = seed_entries(put(tmp_path, row))[0]["rec", "transvg"].results[0]
    assert result.protocol is None and result.protocol_note is None


def test_two_tables_of_one_model_become_one_entry(tmp_path):
    entries, _ = seed_entries(put(tmp_path, ROW, other_table()))
    assert list(entries) == [("rec", "transvg")]
    assert {result.source.work for result in entries["rec", "transvg"].results} == {"hivg", "oneref"}


def test_two_rows_of_one_table_are_two_models(tmp_path):
    big = copy.deepcopy(ROW) | {"id": "rec/hivg-t1/b", "visual_backbone": "Swin-L"}
    entries, _ = seed_entries(put(tmp_path, ROW, big))
    assert list(entries) == [("rec", "transvg-rn101-plusdetr"), ("rec", "transvg-swin-l")]


def test_setting_groups_are_never_merged(tmp_path):
    entries, _ = seed_entries(put(tmp_path, ROW, other_table(setting="mixed_pretraining/multi_task")))
    assert {entry.setting_group for entry in entries.values()} == {"single_dataset", "mixed_pretraining"}


def test_conflicts_and_doubts_are_kept(tmp_path):
    other = other_table(results={"refcoco": {"val": 80.0}}, suspect="looks odd", dataset_mixed_mark=True)
    conflict = {
        "task": "rec",
        "method": "TransVG",
        "comment": "the tables differ",
        "values": {"refcoco/val": {ROW["id"]: 81.02, other["id"]: 80.0}},
    }
    entry = seed_entries(put(tmp_path, ROW, other, conflicts=[conflict]))[0]["rec", "transvg"]
    assert entry.conflicts[0].values == {"refcoco.unc.val": {"hivg Table 1": 81.02, "oneref Table 1": 80.0}}
    assert "Doubt: looks odd (oneref, Table 1)" in entry.notes
    assert any("mixture" in note for note in entry.notes)


def test_metrics_of_other_tasks(tmp_path):
    caption = other_table(
        task="region_caption",
        metric="meteor,cider",
        setting="as_reported",
        protocol_read_in_code="RefCOCOg part: umd val, one reference per expression (4,896 items)",
        results={
            "refcocog": {"meteor": 18.2, "cider": 115.7},
            "visual-genome": {"meteor": 21.1, "cider": 190.9},
        },
    )
    judged = other_table(
        id="j",
        task="referring_reasoning",
        setting="as_reported",
        protocol_read_in_code=None,
        results={"ferret-bench": {"referring_reasoning": 68.9}},
    )
    entries, _ = seed_entries(put(tmp_path, caption, judged))
    umd, vg = entries["caption", "transvg"].results
    assert umd.value == {"meteor": 0.182, "cider": 1.157} and umd.source.quoted == {
        "meteor": 18.2,
        "cider": 115.7,
    }
    assert (umd.records, umd.protocol) == ("refcocog.umd.val", "caption/expression")
    assert (vg.records, vg.protocol, vg.protocol_note) == ("vg.as_printed.test", None, None)
    assert entries["reasoning", "transvg"].results[0].value == {"judge": 68.9}


def test_fractions_are_the_nearest_to_what_is_printed():
    assert fraction(90.56, "acc50") == 0.9056 and fraction(68.9, "judge") == 68.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": "other/1"}, "schema: expected"),
        ({"entries": [ROW | {"results": {"mnist": {"test": 1}}}]}, "unknown data set 'mnist'"),
        ({"entries": [ROW | {"protocol_read_in_code": "by eye"}]}, "'by eye' is not in the table"),
        ({"entries": [ROW | {"task": "chess"}]}, "lacks or misplaces 'chess'"),
        ({"entries": [ROW | {"method": ""}]}, "method: expected one line"),
        ({"entries": 7}, "lacks or misplaces"),
    ],
)
def test_a_seed_that_cannot_be_understood_is_refused(tmp_path, changes, message):
    with pytest.raises(EntryError, match=message.replace("(", r"\(")):
        seed_entries(put(tmp_path, **changes))


@pytest.mark.shared
def test_the_committed_entries_are_those_of_the_seed(shared, repository, tmp_path):
    committed = repository / "model_zoo" / "leaderboard"
    written = write_seed(shared / "leaderboard_seed.yaml", tmp_path)
    for path in written:
        assert (committed / path.relative_to(tmp_path)).read_bytes() == path.read_bytes(), path.name
    seed = yaml.safe_load((shared / "leaderboard_seed.yaml").read_text())
    printed = sum(len(splits) for row in seed["entries"] for splits in row["results"].values())
    entries = load_entries(tmp_path)
    assert sum(len(result.metrics) for located in entries for result in located.entry.results) == printed
    assert len(read_notes(tmp_path)["notes"]) == 1 + len(seed["notes"])
    assert sum(bool(located.entry.conflicts) for located in entries) == len(seed["conflicts"])


def test_committed_numbers_have_the_names_that_their_protocols_give(repository):
    """Or a reproduced number would stand on another board than the published one."""
    known = protocols()
    entries = load_entries(repository / "model_zoo" / "leaderboard")
    stated = [result for located in entries for result in located.entry.results if result.protocol]
    assert len(stated) > 100
    for result in stated:
        assert set(result.metrics) <= set(known[result.protocol].labels), (result.protocol, result.metrics)
