"""`score`: equal from file and memory, strict about ids and digests, independent of order."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from refkit.data.records import Header, RecordError, Target, write_records
from refkit.leaderboard.baselines import score_baselines
from refkit.leaderboard.breakdowns.analysis import BreakdownError
from refkit.leaderboard.predictions import PredictionError, PredictionHeader, write_predictions
from refkit.leaderboard.report import render, to_json
from refkit.leaderboard.scoring import ScoringError, score
from refkit.metrics.protocol import ProtocolError
from refkit.metrics.rec import score_rec
from refkit.structures import Prediction


def stored(scene, tmp_path, predictions=None, name="p.jsonl.gz", header=None):
    path = tmp_path / name
    answers = scene.predictions if predictions is None else predictions
    write_predictions(path, header or scene.answering, answers.values())
    return path


def numbers(result):
    fields = result.to_json()
    fields.pop("predictions")
    return fields


def test_file_and_memory_agree_to_the_last_bit(scene, tmp_path):
    from_file = score(scene.path, stored(scene, tmp_path), by="kind")
    from_memory = score((scene.header, scene.records), (scene.answering, scene.predictions), by="kind")
    assert numbers(from_file) == numbers(from_memory)
    assert from_file.per_sample.values["iou"].tobytes() == from_memory.per_sample.values["iou"].tobytes()
    assert 0 < from_file["acc50"] < 1
    assert from_file.predictions.startswith("sha256:")
    assert from_memory.predictions == ""


def test_the_numbers_are_those_of_score_rec(scene):
    result = score((scene.header, scene.records), (scene.answering, scene.predictions))
    boxes = [np.round(scene.predictions[one.id].boxes[0].astype(np.float64), 4) for one in scene.records]
    gt = [one.targets[0].box for one in scene.records]
    direct = score_rec(boxes, gt, [(200, 160)] * len(gt))
    for name in ("acc50", "acc75", "acc90", "macc", "miou"):
        assert result[name] == getattr(direct, name), name
        low, high = result.metrics[name].interval
        assert low <= result[name] <= high
    assert (result.expected, result.answered, result.scored, result.images) == (60, 60, 60, 20)
    assert result.coverage == 1.0


def test_the_same_files_give_the_same_bytes(scene, tmp_path):
    path = stored(scene, tmp_path)
    first = to_json(score(scene.path, path, by=["kind", "category"]))
    assert to_json(score(scene.path, path, by=["kind", "category"])) == first
    assert json.loads(first)["protocol"]["id"] == "rec/1"
    assert str(tmp_path) not in first


def test_the_order_of_both_sides_does_not_matter(scene, tmp_path):
    backwards = dict(reversed(scene.predictions.items()))
    first = score((scene.header, scene.records), (scene.answering, scene.predictions), by="kind").to_json()
    other = score((scene.header, scene.records[::-1]), (scene.answering, backwards), by="kind").to_json()
    assert first == other


def test_missing_answers_are_wrong(scene, tmp_path):
    whole = score((scene.header, scene.records), (scene.answering, scene.predictions))
    hits = {
        identity
        for identity, iou in zip(whole.per_sample.ids, whole.per_sample.values["iou"], strict=True)
        if iou >= 0.5
    }
    dropped = sorted(hits)[:5]
    fewer = {key: value for key, value in scene.predictions.items() if key not in dropped}
    result = score(scene.path, stored(scene, tmp_path, fewer))
    assert result["acc50"] == (len(hits) - 5) / 60
    assert (result.answered, result.expected, result.scored, result.partial) == (55, 60, 60, False)
    assert result.invalid == 0
    assert [status for status in result.per_sample.status if status != "ok"] == ["missing"] * 5
    assert result.warnings == ("5 of 60 records have no prediction; they are counted as wrong",)

    partial = score(scene.path, stored(scene, tmp_path, fewer), allow_partial=True)
    assert partial["acc50"] == (len(hits) - 5) / 55
    assert (partial.answered, partial.expected, partial.scored, partial.partial) == (55, 60, 55, True)
    assert "this is no score of the set" in partial.warnings[0]
    complete = score(scene.path, stored(scene, tmp_path), allow_partial=True)
    assert not complete.partial


def test_invalid_answers_are_counted_and_listed(scene, tmp_path):
    answers = dict(scene.predictions)
    answers["toy.0"] = Prediction("toy.0", np.zeros((0, 4)), status="unparsable", raw="no idea")
    answers["toy.1"] = Prediction("toy.1", np.array([[50.0, 50.0, 10.0, 60.0]]))
    answers["toy.2"] = Prediction("toy.2", np.array([[0.0, 0.0, np.nan, 1.0]]))
    result = score(scene.path, stored(scene, tmp_path, answers))
    assert result.invalid == 3
    assert result.invalid_share == 3 / 60
    fields = result.to_json()["invalid"]
    assert fields == {"n": 3, "first_ids": ["toy.0", "toy.1", "toy.2"]}


def test_nearly_nothing_usable_is_worth_a_warning(scene):
    captions = {record.id: Prediction(record.id, caption="a thing") for record in scene.records}
    result = score((scene.header, scene.records), (scene.answering, captions))
    assert result.warnings == ("60 of 60 answers hold nothing that this protocol can use",)


def test_unknown_ids_are_an_error(scene, tmp_path):
    more = scene.predictions | {name: Prediction(name) for name in ("foreign.1", "foreign.2")}
    path = stored(scene, tmp_path, more)
    with pytest.raises(
        ScoringError, match=r"p.jsonl.gz: 2 of 62 ids are not in .*toy.jsonl.gz .*'foreign.1'"
    ):
        score(scene.path, path)


def test_predictions_for_other_records_are_an_error(scene, tmp_path):
    other = replace(scene.answering, records="toy.synthetic.test", records_digest="sha256:" + "0" * 64)
    path = stored(scene, tmp_path, header=other)
    with pytest.raises(ScoringError, match=r"p.jsonl.gz:1: records_digest: .* answer toy.synthetic.test"):
        score(scene.path, path)
    with pytest.raises(ScoringError, match=r"records_digest: the predictions answer toy.synthetic.test"):
        score((scene.header, scene.records), (other, scene.predictions))


def test_protocols_of_other_tasks_are_an_error(scene):
    header = replace(scene.header, task=["caption", "attributes"])
    answers = (PredictionHeader.answering(header, "m"), scene.predictions)
    reason = (
        r"are records for caption, attributes, and rec/1 scores rec; .*: attributes/box, caption/expression"
    )
    with pytest.raises(ScoringError, match=reason):
        score((header, scene.records), answers)


def test_a_missing_digest_is_an_error_that_names_the_right_one(scene, tmp_path):
    path = stored(scene, tmp_path, header=replace(scene.answering, records_digest=""))
    with pytest.raises(ScoringError, match=f'"records_digest": "{scene.header.digest}" into the header'):
        score(scene.path, path)


def test_changed_records_are_an_error(scene, tmp_path):
    moved = [replace(one, targets=[Target(box=(0.0, 0.0, 5.0, 5.0))]) for one in scene.records]
    with pytest.raises(ScoringError, match=r"the header states the digest .*, the records give"):
        score((scene.header, moved), (scene.answering, scene.predictions))


def test_records_in_memory_without_a_digest_are_given_theirs(scene):
    bare = Header("toy", "synthetic", "val")
    result = score((bare, scene.records), (PredictionHeader.answering(bare, "m"), scene.predictions))
    assert result.records_digest == scene.header.digest


def test_broken_inputs_keep_their_own_errors(scene, tmp_path):
    path = stored(scene, tmp_path)
    with pytest.raises(RecordError, match="no such file"):
        score(tmp_path / "absent.jsonl", path)
    with pytest.raises(PredictionError, match="no such file"):
        score(scene.path, tmp_path / "absent.jsonl")
    with pytest.raises(PredictionError, match=r"carries the id 'toy.1'"):
        score(scene.path, (scene.answering, {"toy.0": scene.predictions["toy.1"]}))
    with pytest.raises(
        PredictionError, match="predictions in memory are in 'xyxy-pixel', not in 'xyxy-unit'"
    ):
        score(scene.path, (replace(scene.answering, box="xyxy-unit"), scene.predictions))
    with pytest.raises(ProtocolError, match="no protocol 'rec/2'"):
        score(scene.path, path, "rec/2")
    with pytest.raises(BreakdownError, match="no record has a fact 'colour'"):
        score(scene.path, path, by="colour")
    with pytest.raises(ScoringError, match="no record is answered"):
        score(scene.path, stored(scene, tmp_path, {}), allow_partial=True)


def test_nothing_to_score_is_an_error(tmp_path):
    header = write_records(tmp_path / "none.jsonl", Header("toy", "synthetic", "val"), [])
    with pytest.raises(ScoringError, match="there is no record to score"):
        score(tmp_path / "none.jsonl", (PredictionHeader.answering(header, "m"), {}))


def test_a_record_twice_in_memory_is_an_error(scene):
    twice = [*scene.records, scene.records[0]]
    with pytest.raises(ScoringError, match="an id stands twice among the records"):
        score(
            (Header("toy", "synthetic", "val"), twice),
            (PredictionHeader("toy", model="m"), scene.predictions),
        )


def test_breakdowns_add_up_and_have_intervals(scene):
    result = score(
        (scene.header, scene.records), (scene.answering, scene.predictions), by=["kind", "category"]
    )
    for cells in result.by.values():
        assert sum(cell.n for cell in cells.values()) == 60
        hits = sum(cell.n * cell.metrics["acc50"].value for cell in cells.values())
        assert hits / 60 == pytest.approx(result["acc50"])
        for cell in cells.values():
            low, high = cell.metrics["acc50"].interval
            assert low <= cell.metrics["acc50"].value <= high
    assert list(result.by["kind"]) == ["attribute", "position", "relation"]


def test_a_declared_space_is_converted(scene, tmp_path):
    path = tmp_path / "unit.jsonl"
    header = {**scene.answering.to_json(), "box": "xyxy-unit"}
    scale = np.array([200, 160, 200, 160])
    lines = [header]
    for record in scene.records:
        lines.append({"id": record.id, "boxes": [(np.array(record.targets[0].box) / scale).tolist()]})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = score(scene.path, path)
    clipped = score((scene.header, scene.records), (scene.answering, true_boxes(scene)))
    assert result["miou"] == pytest.approx(clipped["miou"])
    assert not result.warnings
    wrong = path.with_name("wrong.jsonl")
    wrong.write_text(path.read_text().replace("xyxy-unit", "xyxy-pixel"))
    doubted = score(scene.path, wrong)
    assert doubted["acc50"] == 0.0
    assert "fit the unit square" in doubted.warnings[0]


def true_boxes(scene):
    return {one.id: Prediction(one.id, np.array([one.targets[0].box])) for one in scene.records}


def test_the_per_sample_file(scene, tmp_path):
    answers = {key: value for key, value in scene.predictions.items() if key != "toy.3"}
    result = score(scene.path, stored(scene, tmp_path, answers))
    result.per_sample.write(tmp_path / "rows.jsonl", result)
    header, *rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert header["protocol"] == "rec/1"
    assert header["records_digest"] == scene.header.digest
    assert [row["id"] for row in rows] == [record.id for record in scene.records]
    assert rows[3] == {"id": "toy.3", "status": "missing", "iou": 0.0}
    assert np.mean([row["iou"] for row in rows]) == pytest.approx(result["miou"])
    result.per_sample.write(tmp_path / "rows.jsonl.gz", result)
    assert (tmp_path / "rows.jsonl.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_baselines_are_scored_like_any_method(scene):
    beside = score_baselines(scene.path, by="kind", seed=1)
    assert list(beside) == ["random object", "largest object", "centre box"]
    assert 0.3 < beside["random object"]["acc50"] < 0.75
    assert beside["random object"].model == "random object"
    assert list(beside["centre box"].by) == ["kind"]
    assert (
        score_baselines(scene.path, by="kind", seed=1)["random object"]["acc50"]
        == beside["random object"]["acc50"]
    )


def test_the_table_names_everything(scene, tmp_path):
    from rich.console import Console

    answers = {key: value for key, value in scene.predictions.items() if key != "toy.3"}
    header = replace(scene.answering, model="[bold]odd[/bold] name")
    result = score(scene.path, stored(scene, tmp_path, answers, header=header), by="kind")
    console = Console(width=140, file=io.StringIO())
    console.print(render(result, score_baselines(scene.path, by="kind")))
    text = console.file.getvalue()
    for part in ("[bold]odd[/bold] name", "toy.synthetic.val", "rec/1", "coverage 59/60", "Acc@0.5", "mIoU"):
        assert part in text, part
    for part in ("relation", "random object", "Warning: 1 of 60", f"{100 * result['acc50']:.2f} ["):
        assert part in text, part


FRESH = """
import sys
import refkit.leaderboard.scoring, refkit.cli.main, refkit.cli.score, refkit.cli.doctor, refkit.cli.config
import refkit.metrics.rec, refkit.data.records, refkit.leaderboard.report, refkit.leaderboard.baselines
from refkit.leaderboard.scoring import score
score(sys.argv[1], sys.argv[2], by="kind")
heavy = [name for name in ("torch", "mmengine", "transformers", "torchvision", "matplotlib", "PIL") if name in sys.modules]
print("loaded:", ",".join(heavy))
"""


def test_scoring_imports_no_torch(scene, tmp_path):
    path = stored(scene, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(scene.path), str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "loaded: \n"
