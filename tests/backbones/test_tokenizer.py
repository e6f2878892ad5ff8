from __future__ import annotations

import json
import logging

import pytest
import torch

from refkit.backbones import CLIPTokenizer, WordTokenizer
from refkit.backbones.tokenizer import TokenizerError, cut_summary


@pytest.fixture(scope="module")
def clip_tokenizer():
    return CLIPTokenizer()


@pytest.fixture
def words(tmp_path):
    return WordTokenizer.train(["The red circle, left of it!", "a Blue square"], tmp_path / "words.json", 8)


def test_clip_ids_equal_the_published_ones(clip_tokenizer, repository):
    cases = json.loads((repository / "tests/golden/clip_tokens.json").read_text(encoding="utf-8"))
    cases = [case for case in cases if case["text"].strip()]
    ids = clip_tokenizer([case["text"] for case in cases])
    assert ids.shape == (len(cases), 77) and ids.dtype == torch.int64
    for row, case in zip(ids.tolist(), cases, strict=True):
        assert row == case["ids"] + [0] * (77 - len(case["ids"]))


def test_clip_vocabulary(clip_tokenizer):
    assert (clip_tokenizer.vocab_size, clip_tokenizer.eot_id, clip_tokenizer.pad_id) == (49408, 49407, 0)


def test_over_long_texts_are_cut_and_counted(words, caplog):
    assert cut_summary(words.cut_texts, 8) is None
    with caplog.at_level(logging.WARNING):
        ids = words(["red " * 30, "red", "blue " * 7])
        words(["blue " * 7, "the " * 9])
    assert len(words.cut_texts) == 3, "the same text counts once"
    assert caplog.text.count("is longer than the 8 tokens") == 1 and "red…'" in caplog.text
    assert cut_summary(words.cut_texts, 8).startswith("3 different texts were longer than the 8 tokens")
    assert cut_summary(["red"], 8).startswith("1 text was longer")
    assert ids[0, -1] == words.eot_id and ids[0, 0] == words.start_id
    assert ids[1].tolist() == [words.start_id, ids[1, 1], words.eot_id, 0, 0, 0, 0, 0]


def test_ids_are_spelled_as_words_with_the_number_of_their_ids(words, clip_tokenizer):
    spelled = words.spell(words(["Red zebra, left"])[0].tolist())
    assert spelled == [
        *[(word, 1) for word in ("[start]", "red", "[unk]", ",", "left", "[end]")],
    ]
    ids = clip_tokenizer(["a giraffe ☃ hovercraftish"])[0].tolist()
    spelled = clip_tokenizer.spell(ids)
    assert [word for word, _ in spelled] == ["[start]", "a", "giraffe", "☃", "hovercraftish", "[end]"]
    assert dict(spelled)["☃"] == 2 and sum(count for _, count in spelled) == sum(i != 0 for i in ids)


def test_a_text_cut_inside_a_word_is_spelled_to_its_end():
    short = CLIPTokenizer(context_length=4)
    assert short.spell(short(["a ☃"])[0].tolist())[-2:] == [("\ufffd", 1), ("[end]", 1)]


def test_word_ids_have_a_fixed_frame(words):
    assert words.words[:2] == ["[pad]", "[unk]"] and words.words[-2:] == ["[start]", "[end]"]
    assert words.start_id == words.vocab_size - 2 and words.eot_id == words.vocab_size - 1
    ids = words(["RED circle,left"])
    assert [words.words[i] for i in ids[0]] == [
        "[start]",
        "red",
        "circle",
        ",",
        "left",
        "[end]",
        "[pad]",
        "[pad]",
    ]
    assert ids.argmax(dim=1).tolist() == [5]


def test_unknown_words_are_counted_and_named_once(words, caplog):
    with caplog.at_level(logging.WARNING):
        ids = words(["the Zebra", "zebra [end]"])
    assert ids[0, 2] == 1 and words.unknown["zebra"] == 2
    assert words.eot_id not in ids[1, 1:5], "a special token in a text is not special"
    assert caplog.text.count("'zebra'") == 1
    caplog.clear()
    words(["zebra"])
    assert not caplog.text


@pytest.mark.parametrize("text", ["", "  \t "])
def test_empty_text_is_refused(words, clip_tokenizer, text):
    for tokenizer in (words, clip_tokenizer):
        with pytest.raises(TokenizerError, match="text 1 of the batch is empty"):
            tokenizer(["a", text])


def test_the_file_and_its_list_of_words_read_alike(words, tmp_path):
    again = WordTokenizer(tmp_path / "words.json", 8)
    listed = WordTokenizer(words.words, 8)
    texts = ["the red square", "left of it"]
    assert torch.equal(again(texts), words(texts)) and torch.equal(listed(texts), words(texts))


def test_bad_vocabularies(tmp_path):
    with pytest.raises(TokenizerError, match=r"no vocabulary file at .*WordTokenizer\.train"):
        WordTokenizer(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(TokenizerError, match="not a tokenizers JSON file"):
        WordTokenizer(tmp_path / "broken.json")
    with pytest.raises(TokenizerError, match="expected first, second"):
        WordTokenizer(["red", "[pad]", "[unk]", "[start]", "[end]"])
    with pytest.raises(TokenizerError, match="no words"):
        WordTokenizer.train([" "], tmp_path / "none.json")
    with pytest.raises(TokenizerError, match="at least 3"):
        WordTokenizer(["[pad]", "[unk]", "[start]", "[end]"], context_length=2)
