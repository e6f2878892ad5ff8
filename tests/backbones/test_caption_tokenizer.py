"""Captions to ids and back: T5's vocabulary, and any tokenizer of transformers."""

from __future__ import annotations

import pytest
import tiny_models as tiny
import torch

from refkit.backbones import PretrainedTokenizer, T5Tokenizer
from refkit.backbones.tokenizer import TokenizerError


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return tiny.t5_tokenizer(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return PretrainedTokenizer(tiny.llama_tokenizer(tmp_path_factory.mktemp("llama")))


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_texts_come_back(kind, request):
    words = request.getfixturevalue(kind)
    texts = ["red circle left of the dog", "cat"]
    ids, mask = words.encode(texts, 32, begin=True, end=True)
    assert ids.shape == mask.shape and ids.dtype == torch.int64
    assert ids.max() < words.vocab_size
    assert words.decode(ids.tolist()) == texts
    assert [row[count - 1] for row, count in zip(ids.tolist(), mask.sum(dim=1), strict=True)] == [
        words.eos_id
    ] * 2


def test_beginning_and_end_are_given_where_asked_for(llama, t5):
    (plain,), _ = llama.encode(["cat"], 32, begin=False, end=False)
    (framed,), _ = llama.encode(["cat"], 32, begin=True, end=True)
    assert framed.tolist() == [llama.bos_id, *plain.tolist(), llama.eos_id]
    (ended,), _ = t5.encode(["cat"], 32, begin=True, end=True)
    assert ended.tolist() == [*t5.ids("cat"), 1]  # T5 has no id for a beginning


def test_long_texts_are_cut_and_keep_their_end(t5):
    ids, mask = t5.encode(["dog " * 50, "dog"], 8, begin=False, end=True)
    assert ids.shape == (2, 8) and ids[0, -1] == 1
    assert mask.sum(dim=1).tolist() == [8, len(t5.ids("dog")) + 1]


def test_long_prompts_can_lose_their_start_and_are_counted(t5, llama, caplog):
    for words in (t5, llama):
        words.cut_texts.clear()
        long = "red dog " * 20 + "cat"
        ids, _ = words.encode([long, "dog"], 8, begin=True, end=True, keep="end")
        assert ids.shape == (2, 8)
        assert words.decode(ids.tolist())[0].endswith("dog cat")
        assert words.cut_texts == {long} and words.context_length == 8
        assert "8 tokens" in caplog.text
        assert words.encode([long], 2, begin=True, end=True, keep="end")[0].shape[1] <= 2


def test_what_stands_behind_the_end_is_not_read(t5):
    dog, cat = t5.ids("dog"), t5.ids("cat")
    assert t5.decode([[0, *dog, 1, *cat], [0, *cat, t5.vocab_size + 5, 0], [0, 1], []]) == [
        "dog",
        "cat",
        "",
        "",
    ]


def test_a_vocabulary_travels_in_a_config(t5):
    copy = T5Tokenizer("elsewhere.model", content=t5.content)
    assert copy.ids("red dog") == t5.ids("red dog")


def test_other_files_are_refused(tmp_path, repository):
    with pytest.raises(TokenizerError, match=r"spiece\.model"):
        T5Tokenizer(tmp_path / "missing.model")
    with pytest.raises(TokenizerError, match=r"a vocabulary of T5 has 0, 1, 2"):
        T5Tokenizer(repository / "model_zoo" / "refshapes" / "refshapes.spm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokenizerError, match="no tokenizer of transformers"):
        PretrainedTokenizer(tmp_path / "empty")
