"""One file under every protocol: the same numbers as one by one, and reasons for those that do not fit."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from refkit.data.records import Header, Target, write_records
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.scoring import ScoringError, score
from refkit.leaderboard.side_by_side import all_to_json, render_all, score_all
from refkit.metrics.protocol import AnswerError, protocols
from refkit.rle import encode
from refkit.structures import Prediction

sys.path.append(str(Path(__file__).resolve().parents[1] / "metrics"))


def stored(tmp_path, header, records, answers):
    truth = write_records(tmp_path / "r.jsonl", header, records)
    write_predictions(tmp_path / "p.jsonl", PredictionHeader.answering(truth, "m"), answers)
    return tmp_path / "r.jsonl", tmp_path / "p.jsonl"


def test_every_number_is_that_of_the_protocol_alone(scene, tmp_path):
    paths = stored(tmp_path, scene.header, scene.records, scene.predictions.values())
    found = score_all(*paths, draws=50)
    assert set(found.results) == {one for one in protocols() if one.split("/")[0] in ("rec", "phrase")}
    assert not found.skipped
    for protocol, result in found.results.items():
        assert result.to_json() == score(*paths, protocol, draws=50).to_json(), protocol
    fields = json.loads(all_to_json(found))
    assert fields["format"] == "refkit.results/1"
    assert fields["results"]["rec/1"]["metrics"]["acc50"]["value"] == found.results["rec/1"]["acc50"]
    assert render_all(found).renderables


def test_what_does_not_fit_is_named_with_its_reason(scene, tmp_path):
    several = [
        replace(one, targets=[*one.targets, Target(box=(0.0, 0.0, 5.0, 5.0))]) for one in scene.records
    ]
    header = Header("toy", "synthetic", "val", task=["rec", "res"])
    found = score_all(*stored(tmp_path, header, several, scene.predictions.values()), draws=0)
    assert set(found.results) == {"phrase/any", "phrase/merged"}
    assert "has 2 targets" in found.skipped["rec/transvg"]
    assert found.skipped["res/1"] == "no prediction has mask"
    text = "".join(map(str, render_all(found).renderables))
    assert "not scored under rec/1, rec/inclusive" in text


def test_few_protocols_with_many_metrics_stand_in_columns(scene, tmp_path):
    header = Header("toy", "synthetic", "val", task=["caption"])
    answers = [Prediction(one.id, caption=one.text) for one in scene.records]
    found = score_all(*stored(tmp_path, header, scene.records, answers), draws=0)
    table = render_all(found).renderables[1]
    assert table.headings == ["protocol", *found.results]
    assert table.rows[0].cells[0] == "CIDEr"


def test_no_number_is_cut_in_a_narrow_terminal(scene, tmp_path):
    found = score_all(*stored(tmp_path, scene.header, scene.records, scene.predictions.values()), draws=50)
    console = Console(width=80, file=io.StringIO())
    console.print(render_all(found))
    text = console.file.getvalue()
    assert "…" not in text
    for protocol, result in found.results.items():
        first, *others = result.metrics.values()
        low, high = first.interval
        assert f"{100 * first.value:.2f} [{100 * low:.1f}, {100 * high:.1f}]" in text, protocol
        assert all(f"{100 * one.value:.2f} │" in text for one in others), protocol


def test_nothing_fits(scene, tmp_path):
    header = Header("toy", "synthetic", "val", task=["caption"])
    paths = stored(tmp_path, header, scene.records, scene.predictions.values())
    reason = "no protocol for caption can score this .*caption/expression, caption/region: no prediction has caption"
    with pytest.raises(ScoringError, match=reason):
        score_all(*paths)


def test_masks_of_another_size_are_an_error(scene, tmp_path):
    mask = encode(np.ones((160, 200), bool))
    records = [replace(one, targets=[Target(box=one.targets[0].box, mask=mask)]) for one in scene.records[:2]]
    right = [Prediction(one.id, mask=mask) for one in records]
    header = Header("toy", "synthetic", "val", task=["res"])
    assert score_all(*stored(tmp_path, header, records, right), draws=0).results["res/1"]["oiou"] == 1.0
    wrong = [replace(right[0], boxes=np.ones((1, 4)), mask=encode(np.ones((16, 20), bool))), right[1]]
    with pytest.raises(AnswerError, match=r"prediction of 'toy.0': mask.size: \[16, 20\] is not the image's"):
        score_all(*stored(tmp_path, header, records, wrong), draws=0)


def test_mask_protocols_ask_for_the_digest_with_masks(scene, tmp_path):
    mask = encode(np.ones((160, 200), bool))
    records = [replace(one, targets=[Target(box=one.targets[0].box, mask=mask)]) for one in scene.records[:2]]
    paths = stored(tmp_path, Header("toy", "synthetic", "val", task=["rec", "res"]), records, [])
    other = [
        replace(one, targets=[replace(one.targets[0], mask=encode(np.eye(160, 200)))]) for one in records
    ]
    write_records(paths[0], Header("toy", "synthetic", "val", task=["rec", "res"]), other)
    with pytest.raises(ScoringError, match=r"records_digest_masks: the predictions answer toy.synthetic.val"):
        score(*paths, "res/1")
    assert score(*paths, "rec/1", draws=0)["acc50"] == 0.0


def test_details_and_nothing_to_say_are_written(tmp_path):
    from metric_fixtures import attribute_pairs, fixture

    pairs = list(attribute_pairs(fixture("attributes")))
    header = Header("ovad", "fixture", "val", task=["attributes"])
    bare = [replace(record, facts=None) for record, _ in pairs]
    paths = stored(tmp_path, header, bare, [answer for _, answer in pairs])
    result = score(*paths, "attributes/box", draws=20)
    fields = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert fields["details"]["average precision"]["pattern:striped"] is None
    assert fields["details"]["average precision"]["color:red"] == pytest.approx(0.64449078)
    assert fields["metrics"]["map_head"] == {"value": None, "interval": None}
    low, high = fields["metrics"]["map"]["interval"]
    assert low < fields["metrics"]["map"]["value"] < high


def test_captions_of_boxes_survive_the_file(tmp_path):
    from metric_fixtures import fixture
    from test_densecap import densecap_pairs

    from refkit.leaderboard.predictions import PredictionError, read_predictions
    from refkit.metrics.protocol import get_protocol

    pairs = list(densecap_pairs(fixture("densecap").images))
    header = Header("vg", "fixture", "val", task=["densecap"])
    paths = stored(tmp_path, header, [record for record, _ in pairs], [answer for _, answer in pairs])
    _, found = read_predictions(paths[1])
    assert all(found[answer.id].captions == answer.captions for _, answer in pairs)
    direct = get_protocol("densecap/lua").evaluate(iter(pairs)).columns["detection_map"].value
    assert score(*paths, "densecap/lua", draws=0)["detection_map"] == direct
    short = replace(pairs[0][1], captions=["one"])
    with pytest.raises(PredictionError, match="captions: 1 captions for 9 boxes, expected one per box"):
        write_predictions(tmp_path / "q.jsonl", PredictionHeader("vg.fixture.val", model="m"), [short])
