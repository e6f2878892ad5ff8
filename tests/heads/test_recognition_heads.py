"""Recognition by texts: scores of any subset, best prompts, targets, and pairs of several processes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing

from refkit.heads import RegionContrastHead, TagHead
from refkit.heads.vocabulary import Vocabulary, VocabularyError
from refkit.structures import Features, Frame, ReferringSample

SIZES = {"width": 12, "text_width": 6, "hidden": 8, "layers": 2, "heads": 2, "feedforward": 16}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def features(count, sentence=None, first=0):
    regions = torch.randn(8, 3, 12, generator=generator())[first : first + count]
    return Features(regions, torch.ones(count, 3).bool(), (1, 3), regions=regions, sentence=sentence)


def sample(**meta):
    return ReferringSample("x", "", Frame.identity(8, 8), meta=meta)


def tag_head(tags, **settings):
    torch.manual_seed(0)
    head = TagHead(tags=tags, **SIZES, **settings).eval()
    head.vocabularies["tags"].fill(torch.randn(len(tags), 6, generator=generator(1)))
    return head


def contrast_head(**settings):
    torch.manual_seed(0)
    return RegionContrastHead(**SIZES, **settings).eval()


@torch.no_grad()
def test_scores_do_not_depend_on_what_else_is_asked_or_on_the_chunks(monkeypatch):
    head = contrast_head()
    texts = torch.randn(7, 6, generator=generator(2))
    together = head(features(3), texts)
    torch.testing.assert_close(head(features(3), texts[2:5]), together[:, 2:5])
    torch.testing.assert_close(head(features(1, first=1), texts), together[1:2])
    monkeypatch.setattr("refkit.heads.recogniser._ROWS", 6)
    torch.testing.assert_close(head(features(3), texts), together)


def test_chunks_and_gradients_give_the_same():
    head, texts = contrast_head(), torch.randn(7, 6, generator=generator(2))
    with_gradients = head(features(3), texts)
    with torch.no_grad():
        torch.testing.assert_close(head(features(3), texts), with_gradients)


@torch.no_grad()
def test_the_best_prompt_of_a_name_decides():
    head = contrast_head(attributes={"a": ["one", "two"], "b": ["three"], "c": ["four", "five", "six"]})
    head.vocabularies["attributes"].fill(torch.randn(6, 6, generator=generator(3)))
    scores = head.scores(features(2), "attributes").sigmoid()
    for row, answer in zip(scores, head.predict(features(2), [sample()] * 2), strict=True):
        best = [row[:2].max(), row[2], row[3:].max()]
        assert list(answer.attributes) == ["a", "b", "c"]
        np.testing.assert_allclose(list(answer.attributes.values()), [float(value) for value in best])
        assert answer.categories is None


def test_tags_above_the_threshold_in_the_order_of_the_list():
    head = tag_head(["x", "y", "z"])
    chances = head.scores(features(4), "tags").sigmoid()
    head.threshold = float(chances.detach().median())
    told = head.predict(features(4), [sample()] * 4)
    assert 0 < sum(len(answer.tags) for answer in told) < 12
    for row, answer in zip(chances, told, strict=True):
        right = {name: float(p) for name, p in zip("xyz", row, strict=True) if p > head.threshold}
        assert answer.tags == pytest.approx(right)


def test_bfloat16_rounds_threshold_and_probabilities():
    """0.7 is 0.69921875 there, which is not above itself (spec 7)."""
    head = tag_head(["x"], threshold=0.7, precision="bfloat16")
    logit = torch.tensor([[math.log(0.69921875 / (1 - 0.69921875))]])
    assert head.answer("tags", logit.bfloat16()) == [{}]
    assert head.answer("tags", logit) == [{}]
    assert head.answer("tags", logit + 0.02) != [{}]
    assert head.scores(features(1), "tags").dtype == torch.bfloat16
    assert tag_head(["x"]).scores(features(1), "tags").dtype == torch.float32


def test_tags_are_learnt():
    head = tag_head(["x", "y"])
    samples = [sample(tags=["x"]), sample(tags=["y"]), sample(tags=["x", "y"]), sample(tags=None)]
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(features(4), samples)["loss_tag"].backward()
        optimizer.step()
    told = [set(answer.tags) for answer in head.predict(features(4), samples)]
    assert told == [{"x"}, {"y"}, {"x", "y"}, set()]
    with pytest.raises(VocabularyError, match="'w' is not among the 2 names"):
        head.loss(features(1), [sample(tags=["w"])])


def test_regions_learn_their_captions():
    sentence = torch.randn(4, 6, generator=generator(4))
    head = contrast_head()
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        head.loss(features(4, sentence), [sample()] * 4)["loss_contrast"].backward()
        optimizer.step()
    assert head(features(4), sentence).argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_missing_features_are_named():
    head = contrast_head()
    with pytest.raises(ValueError, match=r"needs features\.sentence"):
        head.loss(features(2), [sample()] * 2)
    bare = features(2)
    bare.regions = None
    with pytest.raises(ValueError, match=r"needs features\.regions"):
        head(bare, torch.zeros(1, 6))
    with pytest.raises(ValueError, match="precision='float64'"):
        contrast_head(precision="float64")


def contrast_of(first, count):
    sentence = torch.randn(4, 6, generator=generator(4))[first : first + count]
    head = contrast_head()
    loss = head.loss(features(count, sentence, first), [sample()] * count)["loss_contrast"]
    loss.backward()
    return float(loss.detach()), {name: value.grad.tolist() for name, value in head.named_parameters()}


def one_of_two(rank, folder):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    loss, gradients = contrast_of(2 * rank, 2)
    (folder / f"{rank}.json").write_text(json.dumps({"loss": loss, "bias": gradients["bias"]}))
    distributed.destroy_process_group()


def test_two_processes_contrast_all_their_pairs(tmp_path):
    """Each averages over its own rows of the whole table, so their mean is what one process computes."""
    processes = multiprocessing.start_processes(one_of_two, (tmp_path,), 2, join=False, start_method="fork")
    while not processes.join(timeout=60):
        pass
    halves = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    loss, gradients = contrast_of(0, 4)
    assert np.mean([half["loss"] for half in halves]) == pytest.approx(loss, rel=1e-6)
    assert np.mean([half["bias"] for half in halves]) == pytest.approx(gradients["bias"], rel=1e-5)


def test_lists_come_from_files(tmp_path):
    (tmp_path / "tags.txt").write_text("red dog\ncat\n", encoding="utf-8")
    assert Vocabulary(tmp_path / "tags.txt", 4).names == ["red dog", "cat"]
    (tmp_path / "prompts.json").write_text(json.dumps({"wet": ["the wet", "the damp"], "dry": ["the dry"]}))
    table = Vocabulary(str(tmp_path / "prompts.json"), 4)
    assert (table.names, table.prompts) == (["wet", "dry"], ["the wet", "the damp", "the dry"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "no readable list"),
        ("empty.txt", "", "an empty vocabulary"),
        ("blank.txt", "cat\n\ndog\n", "is empty; a name needs words"),
        ("twice.txt", "cat\ncat\n", "'cat' stands twice"),
        ("broken.json", "{", "no readable list"),
    ],
)
def test_unusable_lists_are_refused_by_name(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(VocabularyError, match=rf"{name}: .*{message}"):
        Vocabulary(tmp_path / name, 4)


def test_embeddings_must_fit_the_prompts():
    table = Vocabulary(["a", "b"], 4)
    with pytest.raises(VocabularyError, match=r"expected \(2, 4\), got \(3, 4\)"):
        table.fill(torch.zeros(3, 4))
    with pytest.raises(VocabularyError, match="has no embeddings"):
        table.filled()
