"""The caption that is learnt, and its control words."""

from dataclasses import replace

import numpy as np
import pytest
from sample_factory import make_record, make_sample

from refkit.data.dataset import sample_from_record
from refkit.data.transforms import RegionCaption
from refkit.data.transforms.region_caption import MissingCaptionError


def rng(seed=0):
    return np.random.default_rng(seed)


def told(sample, seed=0, **settings):
    return RegionCaption(**settings)(sample, rng(seed))


def test_words_of_the_caption_become_the_prompt():
    sample = replace(make_sample(), meta={"references": ["A Red BUS."], "tags": ["bus", "vehicle"]})
    made = told(sample, full_drop=0.0, drop=0.0)
    assert made.text == "a red bus"
    assert sorted(made.meta["control"].removesuffix("|").split(",")) == ["bus", "red bus", "vehicle"]
    assert told(sample, full_drop=1.0).meta["control"] == "|"
    assert "control" not in sample.meta


def test_stored_words_belong_to_their_reference():
    meta = {"references": ["one", "two"], "phrases": [["first"], ["second"]]}
    sample = replace(make_sample(), meta=meta)
    pairs = {
        (m.text, m.meta["control"]) for m in (told(sample, s, full_drop=0.0, drop=0.0) for s in range(9))
    }
    assert pairs == {("one", "first|"), ("two", "second|")}
    assert {told(sample, seed, which="first").text for seed in range(9)} == {"one"}


def test_without_references_the_text_is_the_caption():
    assert told(make_sample(text="The left dog!")).text == "the left dog"


def test_half_of_the_prompts_are_empty():
    show, draws, sample = RegionCaption(), rng(), make_sample(text="the red bus")
    prompts = [show(sample, draws).meta["control"] for _ in range(800)]
    assert 0.58 < np.mean([prompt == "|" for prompt in prompts]) < 0.67  # half, and a quarter of the rest
    assert set(prompts) == {"|", "red bus|", "bus|", "red bus,bus|", "bus,red bus|"}


def test_captions_without_words_are_refused():
    with pytest.raises(MissingCaptionError, match=r"record toy\.1: no words"):
        told(make_sample(text="..."))
    with pytest.raises(ValueError, match="which"):
        RegionCaption(which="last")


def test_stored_words_and_tags_reach_the_sample():
    record = make_record(1)
    record.facts = {"phrases": [["dog"]], "tags": ["dog"], "tagger": "rules"}
    meta = sample_from_record(record, np.zeros((48, 64, 3), np.uint8)).meta
    assert meta["phrases"] == [["dog"]]
    assert meta["tags"] == ["dog"]
