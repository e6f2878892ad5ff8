"""Questions about regions become prompts."""

from dataclasses import replace

import numpy as np
import pytest
from sample_factory import make_record, make_sample

from refkit.data.dataset import sample_from_record
from refkit.data.transforms import Conversation
from refkit.data.transforms.region_caption import MissingCaptionError

HISTORY = [["Is <region1> a dog?", "Yes, <region1> is."], ["Old?", "No."]]


def asked(text="What does <region1> eat?", **meta):
    return replace(make_sample(text=text), meta=meta)


def answered(sample, **settings):
    return Conversation(**settings)(sample, np.random.default_rng(0))


def test_the_answer_is_learnt_after_the_question():
    sample = asked(references=["Bones. "], history=HISTORY)
    made = answered(sample)
    assert made.text == "Bones."
    assert made.meta["prompt"] == (
        "Question: Is this region a dog? Answer: Yes, this region is. Question: Old? Answer: No. "
        "Question: What does this region eat? Answer:"
    )
    assert "prompt" not in sample.meta


@pytest.mark.parametrize(
    ("style", "start", "end"),
    [
        ("vicuna", "A chat between", "USER: Old? ASSISTANT: No.</s>USER: What does it eat? ASSISTANT:"),
        (
            "chatml",
            "<|im_start|>user\nOld?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>\n",
            "<|im_start|>user\nWhat does it eat?<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_styles_of_chat_models(style, start, end):
    prompt = answered(asked(references=["x"], history=HISTORY), style=style, turns=1, region="it").meta[
        "prompt"
    ]
    assert prompt.startswith(start)
    assert prompt.endswith(end)
    assert "dog" not in prompt


def test_history_can_be_left_out():
    assert answered(asked(references=["x"], history=HISTORY), turns=0).meta["prompt"].count("Question") == 1


def test_questions_without_answers():
    with pytest.raises(MissingCaptionError, match=r"toy\.1 has no answer"):
        answered(asked())
    with pytest.raises(MissingCaptionError, match="no question"):
        answered(asked(text=" ", references=["x"]))
    assert answered(asked(), training=False).text == ""
    for settings, message in (({"style": "alpaca"}, "style"), ({"turns": -1}, "turns")):
        with pytest.raises(ValueError, match=message):
            Conversation(**settings)


def test_the_history_of_a_record_reaches_the_sample():
    record = make_record(1)
    record.facts = {"history": HISTORY}
    assert sample_from_record(record, np.zeros((48, 64, 3), np.uint8)).meta["history"] == HISTORY
