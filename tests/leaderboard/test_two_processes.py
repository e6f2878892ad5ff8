"""Two processes give what one gives, bit for bit; what is unusual is left to one."""

import gzip

import numpy as np
import pytest

from refkit.data.records import write_records
from refkit.leaderboard.breakdowns.analysis import facts_needed
from refkit.leaderboard.evaluation import evaluate
from refkit.leaderboard.predictions import (
    PredictionError,
    PredictionHeader,
    load_predictions,
    write_predictions,
)
from refkit.leaderboard.report import to_json
from refkit.leaderboard.scoring import score
from refkit.leaderboard.two_processes import WORTH_TWO, divided, evaluate_in_two
from refkit.metrics.protocol import get_protocol
from refkit.structures import Prediction


@pytest.fixture
def files(scene, tmp_path):
    records, predictions = tmp_path / "r.jsonl", tmp_path / "p.jsonl"
    answering = PredictionHeader.answering(write_records(records, scene.header, scene.records), "jitter")
    answers = [one for key, one in scene.predictions.items() if key != "toy.50"]  # one answer is missing,
    answers[3] = Prediction("toy.3", np.zeros((0, 4)), status="unparsable", raw="there")  # two are unusual
    answers[40] = Prediction(answers[40].id, answers[40].boxes)
    write_predictions(predictions, answering, answers[::-1])
    return records, predictions


def in_halves(files, protocol="rec/1", worth_two=1):
    return divided(*files, get_protocol(protocol), False, facts_needed(["all"]), worth_two)


def test_two_processes_give_the_same_bits(files):
    one, two = evaluate(*files, facts=facts_needed(["all"])), in_halves(files)
    assert two.pairing.ids == one.pairing.ids
    assert two.pairing.answered == one.pairing.answered
    assert two.pairing.clusters().tolist() == one.pairing.clusters().tolist()
    assert (two.pairing.expected, two.pairing.doubt) == (60, one.pairing.doubt)
    assert two.truth.header == one.truth.header
    assert two.evaluation.invalid.tolist() == one.evaluation.invalid.tolist()
    assert two.evaluation.per_sample["iou"].tobytes() == one.evaluation.per_sample["iou"].tobytes()
    for name, column in one.evaluation.columns.items():
        assert two.evaluation.columns[name].value == column.value
    for name in ("texts", "text_codes", "target_counts", "boxes", "sizes", "answers", "scores", "same_class"):
        assert np.array_equal(
            *(getattr(side.samples, name) for side in (one, two)), equal_nan=name != "texts"
        )
    assert two.samples.objects == one.samples.objects
    for name, groups in one.samples.facts.items():
        assert two.samples.facts[name].labels == groups.labels
        assert two.samples.facts[name].codes().tolist() == groups.codes().tolist()


def test_small_files_protocols_of_the_whole_and_packed_files_stay_in_one_process(files, tmp_path):
    assert in_halves(files, worth_two=WORTH_TWO) is None
    assert in_halves(files, "rec/ref-l4") is None  # a mean over categories
    packed = tmp_path / "p.jsonl.gz"
    packed.write_bytes(gzip.compress(files[1].read_bytes()))
    assert in_halves((files[0], packed)) is None
    assert to_json(score(*files, by="all", processes=2), {}) == to_json(score(*files, by="all"), {})


def test_what_is_wrong_in_the_other_half_is_left_to_one_process(files):
    lines = files[1].read_bytes().splitlines(keepends=True)
    files[1].write_bytes(b"".join([*lines, lines[5]]))
    assert in_halves(files) is None
    with pytest.raises(PredictionError, match=r"p\.jsonl:61: id: 'toy\.\d+' is answered twice"):
        evaluate_in_two(*files)


@pytest.mark.parametrize("cut", [1, 7, 200, 1000, 4321])
def test_spans_share_out_every_line(files, cut):
    size = files[1].stat().st_size
    whole = load_predictions(files[1])
    parts = [load_predictions(files[1], span) for span in ((0, cut), (cut, size))] if cut > 400 else []
    joined = [key for part in parts for key in part.predictions]
    assert joined == (list(whole.predictions) if parts else [])
    from refkit.data.record_scan import iter_lines

    lines = [line for span in ((0, cut), (cut, size)) for _, _, line in iter_lines(files[1], span)]
    assert lines == [line for _, _, line in iter_lines(files[1])]


def test_counts_of_the_header_are_checked_over_both_halves(files):
    text = files[0].read_bytes()
    files[0].write_bytes(text.replace(b'"images": 20', b'"images": 21', 1))
    with pytest.raises(ValueError, match="images: the header says 21, the file holds 20"):
        in_halves(files)
