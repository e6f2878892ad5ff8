"""What holds for every method: order, independence of neighbours, cuts, hostile texts, precision."""

import logging

import numpy as np
import pytest
from tiny_peers import sample

from refkit import rle
from refkit.inference.methods import method_names
from refkit.inference.peers.method import METHODS, MethodError, Settings, find_method
from refkit.leaderboard.schema import prediction_to_json

HOSTILE = (
    "<CAPTION></phrase><object><patch_index_0001><patch_index_0900></object> {x} <loc_1><loc_2><loc_3><loc_4>"
)


WRITERS = ("florence-2", "kosmos-2")
"""Language models: words of random ones need not differ from text to text, and change with rounding."""
SCORERS = [name for name in method_names() if name not in WRITERS]


def same(answer, other):
    if answer.boxes is not None:
        np.testing.assert_allclose(answer.boxes, other.boxes, atol=1e-3)
    if answer.scores is not None:
        np.testing.assert_allclose(answer.scores, other.scores, atol=1e-5)
    if answer.mask is not None:
        assert (rle.decode(answer.mask) != rle.decode(other.mask)).mean() < 0.01
    assert (answer.id, answer.raw, answer.status) == (other.id, other.raw, other.status)


def test_every_module_registers_the_method_of_its_name():
    assert method_names() == ["clipseg", "florence-2", "grounding-dino", "kosmos-2", "owlv2", "sam3"]
    for name in method_names():
        cls = find_method(f"hf:{name}")
        assert METHODS[name] is cls
        assert cls.name == name


def test_an_answer_does_not_depend_on_its_neighbours(method, load, samples):
    peer = load(method)
    together = peer.answer(samples)
    assert [answer.id for answer in together] == ["a", "b", "c"]
    for answer, one in zip(together, samples, strict=True):
        same(answer, peer.answer([one])[0])


@pytest.mark.parametrize(("name", "tower"), [("sam3", "vision_encoder"), ("owlv2", "owlv2.vision_model")])
def test_expressions_share_the_pass_of_their_picture(name, tower, load, samples):
    peer, seen = load(name), []
    encoder = peer.method.model.get_submodule(tower)
    encoder.register_forward_hook(
        lambda _, given, kwargs, out: seen.append(len((given or list(kwargs.values()))[0])), with_kwargs=True
    )
    peer.answer(samples)
    assert seen == [2]


def test_answers_fit_their_pictures_and_the_format(method, load, samples):
    for answer, one in zip(load(method).answer(samples), samples, strict=True):
        assert prediction_to_json(answer)["id"] == one.id
        assert answer.boxes.shape[1:] == (4,)
        if answer.scores is not None:
            assert (np.diff(answer.scores) <= 0).all()
            assert ((answer.scores >= 0) & (answer.scores <= 1)).all()
        if answer.mask is not None:
            assert rle.mask_fault(answer.mask, *one.image.shape[:2]) is None
        assert (answer.status == "ok") == (len(answer.boxes) > 0)


@pytest.mark.parametrize("method", SCORERS)
def test_the_words_matter(method, load):
    first, second = load(method).answer([sample("a", "a red dog", 64, 64), sample("a", "two cats", 64, 64)])
    assert not np.allclose(first.scores, second.scores, atol=1e-7)


def test_a_text_too_long_is_cut_and_counted(method, load, caplog):
    peer = load(method)
    words = " ".join(["dog"] * (peer.method.context_length + 3))
    questions = [sample("a", words, 40, 40), sample("b", "a dog", 40, 40), sample("c", words, 40, 40)]
    with caplog.at_level(logging.WARNING):
        answers = list(peer.predict(questions, batch_size=2))
    assert [answer.id for answer in answers] == ["a", "b", "c"]
    assert len(peer.method.cut_texts) == 1
    assert f"1 text was longer than the {peer.method.context_length} tokens" in caplog.text


def test_hostile_texts_are_just_texts(method, load):
    texts = [HOSTILE, "a.b. c", "\u2028 犬 \x00", "<", "</s><s><image>"]
    answers = load(method).answer([sample(str(row), text, 40, 30) for row, text in enumerate(texts)])
    assert len(answers) == len(texts)
    assert all(answer.status in ("ok", "unparsable") for answer in answers)


@pytest.mark.parametrize("method", SCORERS)
def test_bfloat16_computes_the_same_within_its_steps(method, load, samples):
    exact, rounded = load(method).answer(samples), load(method, "bfloat16").answer(samples)
    for answer, other in zip(exact, rounded, strict=True):
        np.testing.assert_allclose(answer.scores[0], other.scores[0], atol=0.02)


def test_small_and_thin_pictures_are_answered(method, load):
    answers = load(method).answer([sample("a", "a dog", 3, 3), sample("b", "a dog", 90, 18)])
    assert [answer.id for answer in answers] == ["a", "b"]


def test_settings_are_stated_in_full(method, load):
    peer = load(method)
    settings = peer.settings
    assert settings["method"] == f"hf:{method}"
    assert settings["weights"] == f"tiny-{method}"
    assert settings.keys() >= type(peer.method).settings_class.model_fields.keys()
    assert settings["transformers"][0].isdigit() and settings["torch"][0].isdigit()
    assert peer.name == f"hf:{method} (tiny-{method})"


@pytest.mark.parametrize("name", ["hf:grounding-dno", "grounding-dino", "hf:", "hf:../peers/sam"])
def test_an_unknown_method_is_refused_with_the_list(name):
    with pytest.raises(MethodError, match="It may be hf:clipseg, hf:florence-2"):
        find_method(name)


def test_settings_of_nothing():
    with pytest.raises(MethodError, match=r"hf:x has no setting 'a' \(it has: none\)"):
        Settings.parse("hf:x", {"a": "1"})
