"""The port of the tokeniser against the answers of the original, which tools/ptb_reference.py has asked."""

from __future__ import annotations

import gzip
import importlib.util
import json

import pytest
from metric_fixtures import GOLDEN
from patience import must_end
from test_captions import needs_tools

from refkit.metrics.ptb import ptb_tokens
from refkit.metrics.tokens import java_tokens

REFERENCE = json.loads(gzip.decompress((GOLDEN / "ptb.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def tool(repository):
    """tools/ptb_reference.py."""
    spec = importlib.util.spec_from_file_location("ptb_reference", repository / "tools/ptb_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tokens_equal_those_of_java():
    """Captions, marks in every company, and texts put together at random; a few are known to differ."""
    differing = [text for text, tokens in REFERENCE["tokens"].items() if " ".join(ptb_tokens(text)) != tokens]
    assert len(REFERENCE["tokens"]) > 3000
    assert differing == REFERENCE["known_differences"]
    assert len(differing) < 10


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            "the man's t-shirt, which isn't (very) red!",
            "the man 's t-shirt which is n't -lrb- very -rrb- red",
        ),
        ("Mr. Smith at 5:30 p.m.", "mr. smith at 5:30 p.m."),
        ("He cannot see, it’s gonna be 'em", "he can not see it 's gon na be 'em"),
        ("half of it: ½ or 1 1/2...", "half of it 1/2 or 1 1/2"),
        ("left/right w/o b&w AT&T", "left/right w/o b & w at&t"),
        ("hey!! it costs €5 😀", "hey !! it costs $ 5"),
        ("", ""),
        ("   ", ""),
        (". . . -- ,", ""),
    ],
)
def test_rules(text, tokens):
    assert " ".join(ptb_tokens(text)) == tokens


@pytest.mark.parametrize("piece", ["a", "a-", "a.", "'", "<a ", "a/", "1,", "#", "@", "a'"])
def test_long_texts_come_to_an_end(piece):
    """No rule looks back again and again over a text without blanks, and no letter is lost."""
    with must_end(piece):
        tokens = ptb_tokens(piece * (2000 // len(piece)))
    assert "".join(tokens).count("a") == ("a" in piece) * (2000 // len(piece))


def test_results_name_the_tokenizer(tmp_path, without_java):
    """`ptb-refkit` without Java, in what `refkit score` writes."""
    from refkit.data.records import Header, ImageRef, Record, read_header, write_records
    from refkit.leaderboard.predictions import PredictionHeader, write_predictions
    from refkit.leaderboard.scoring import score
    from refkit.structures import Prediction

    records, predictions = tmp_path / "records.jsonl", tmp_path / "predictions.jsonl"
    texts = ["a red cup", "the dog's bowl", "left man"]
    write_records(
        records,
        Header("captions", "mine", "val", task=["caption"]),
        [Record(f"r{n}", ImageRef(f"{n}.jpg", 9, 9), references=[text]) for n, text in enumerate(texts)],
    )
    header = PredictionHeader.answering(read_header(records), "model")
    write_predictions(
        predictions, header, [Prediction(f"r{n}", caption=text) for n, text in enumerate(texts)]
    )
    result = score(records, predictions, "caption/region", draws=0)
    assert result.to_json()["tools"] == {"tokenizer": "ptb-refkit"}
    assert result["rouge_l"] == pytest.approx(1.0)


@pytest.mark.shared
def test_published_captions_equal_java(shared, tool):
    """Every expression of the evaluation splits, generated expressions and captions of the parity pack."""
    files = list(tool.caption_files(shared))
    assert len(REFERENCE["digests"]) == len(files)
    for path in files:
        texts = tool.captions(path)
        known = REFERENCE["digests"][path.relative_to(shared).as_posix()]
        assert [len(texts), tool.digest(map(ptb_tokens, texts))] == known, path.name


@needs_tools
@pytest.mark.slow
def test_the_reference_is_what_java_says(tool):
    texts = list(REFERENCE["tokens"])
    assert {text: " ".join(tokens) for text, tokens in tool.apart(texts).items()} == REFERENCE["tokens"]
    assert java_tokens(["", "a cup."]) == [(), ("a", "cup")]
