"""BEiT-3's numbering over a SentencePiece vocabulary, checked against transformers' XLM-R tokenizer."""

from __future__ import annotations

import base64
import copy
import io
import logging
import pickle

import pytest
import sentencepiece
import torch

from refkit.backbones import SentencePieceTokenizer
from refkit.backbones.tokenizer import TokenizerError
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.structures import Frame, ReferringSample

TEXTS = [
    "the man in red next to a horse",
    "second zebra from the left, behind the tree",
    "a woman's umbrella",
    "bowl of soup!",
    "person with the black-and-white shirt",
]


def trained(**options) -> bytes:
    model = io.BytesIO()
    defaults = {"vocab_size": 60, "hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20), model_writer=model, **(defaults | options)
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def spm(tmp_path_factory):
    """A small unigram model like BEiT-3's, under the name that transformers looks for."""
    path = tmp_path_factory.mktemp("words") / "sentencepiece.bpe.model"
    path.write_bytes(trained())
    return path


@pytest.fixture
def tokenizer(spm):
    return SentencePieceTokenizer(spm, context_length=64)


def test_ids_equal_those_of_xlm_roberta(spm, tokenizer):
    from transformers import XLMRobertaTokenizer

    theirs = XLMRobertaTokenizer.from_pretrained(spm.parent)
    texts = [*TEXTS, "漢字 zebra"]
    expected = theirs([text.lower() for text in texts], padding="max_length", max_length=64)["input_ids"]
    assert tokenizer(texts).tolist() == expected
    assert (tokenizer.start_id, tokenizer.pad_id, tokenizer.eot_id, tokenizer.unk_id) == (0, 1, 2, 3)
    assert tokenizer.mask_id == theirs.mask_token_id
    assert tokenizer.vocab_size == len(theirs)


def test_texts_are_lower_cased_and_unknown_pieces_are_3(tokenizer):
    assert tokenizer(["The MAN"]).equal(tokenizer(["the man"]))
    assert 3 in tokenizer(["the 漢"])[0].tolist()


def test_over_long_texts_are_cut_and_counted(spm, caplog):
    tokenizer = SentencePieceTokenizer(spm, context_length=8)
    with caplog.at_level(logging.WARNING):
        ids = tokenizer(["the man " * 30, "man"])
    whole = tokenizer.encode(["the man " * 30])[0]
    assert ids[0].tolist() == [0, *whole[:6], 2]
    assert len(tokenizer.cut_texts) == 1 and "was cut" in caplog.text


@pytest.mark.parametrize("text", ["", "  ", "\u200b"])
def test_a_phrase_without_pieces_is_refused(tokenizer, text):
    with pytest.raises(TokenizerError, match="text 1 of the batch is empty"):
        tokenizer(["man", text])


def test_pieces_are_spelled_as_words(tokenizer):
    text = "second zebra, the 漢"
    ids = tokenizer([text])[0].tolist()
    words = tokenizer.spell(ids)
    assert [word for word, _ in words[:5]] == ["[start]", "second", "zebra", ",", "the"]
    assert words[-2:] == [("[unk]", 1), ("[end]", 1)]
    assert sum(count for _, count in words) == sum(token != 1 for token in ids)
    assert tokenizer.spell([0, tokenizer.mask_id, 2, tokenizer.mask_id + 1])[1:] == [
        ("[mask]", 1),
        ("[end]", 1),
        ("[spare]", 1),
    ]


def test_the_vocabulary_travels_as_text(tokenizer):
    moved = SentencePieceTokenizer("elsewhere.spm", 64, content=tokenizer.content)
    for other in (moved, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other(TEXTS).equal(tokenizer(TEXTS))


def test_padding_is_trimmed_to_the_longest_text(tokenizer):
    texts = ["man", "the man in red"]
    samples = [ReferringSample(text, text, Frame.identity(4, 4)) for text in texts]
    ids = ReferringPreprocessor(tokenizer, trim_text=True).tokenise(samples)
    longest = max(len(row) for row in tokenizer.encode(texts)) + 2
    assert ids.equal(tokenizer(texts)[:, :longest])
    assert ids.dtype == torch.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a SentencePiece file"),
        (b"no vocabulary", "not a SentencePiece file"),
        (None, "no SentencePiece vocabulary at .*missing.spm"),
    ],
)
def test_files_that_are_no_vocabulary(tmp_path, content, message):
    path = tmp_path / "missing.spm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenizerError, match=message):
        SentencePieceTokenizer(path)


def test_a_vocabulary_in_another_numbering_is_refused(tmp_path):
    path = tmp_path / "t5.spm"
    path.write_bytes(trained(pad_id=0, unk_id=2, bos_id=-1, eos_id=1))
    with pytest.raises(TokenizerError, match=r"are pieces \(2, -1, 1\), expected \(0, 1, 2\)"):
        SentencePieceTokenizer(path)


def test_content_must_be_base64():
    with pytest.raises(TokenizerError, match=r"beit3\.spm: 'content' is not base64"):
        SentencePieceTokenizer("beit3.spm", content="not base64!")
    with pytest.raises(TokenizerError, match=r"beit3\.spm: not a SentencePiece file"):
        SentencePieceTokenizer("beit3.spm", content=base64.b64encode(b"abc").decode())


def test_a_word_table_of_another_model_is_refused(tokenizer):
    tokenizer.check_rows(tokenizer.vocab_size)
    tokenizer.check_rows(tokenizer.vocab_size + 8)  # the published table has 8 spare rows
    for rows in (tokenizer.vocab_size - 1, 64010):
        with pytest.raises(TokenizerError, match=f"word table has {rows} rows: the vocabulary is another"):
            tokenizer.check_rows(rows)
