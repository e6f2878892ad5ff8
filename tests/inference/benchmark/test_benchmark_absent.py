"""Configs that start from released files can be measured on a machine that has none of them."""

from __future__ import annotations

import pytest
import torch
from stand_ins import shrunk

from refkit.backbones import SentencePieceTokenizer, T5Tokenizer
from refkit.engine.config import load_config
from refkit.heads import RegionContrastHead, TagHead
from refkit.heads.vocabulary import Vocabulary
from refkit.inference.benchmark.absent import BEIT3_PIECES, T5_PIECES, without_files
from refkit.inference.benchmark.subject import Subject


def test_weights_and_a_vocabulary_that_is_not_here_are_replaced(tmp_path):
    here = {"type": SentencePieceTokenizer, "model": "model_zoo/refshapes/refshapes.spm"}
    gone = {"type": "refkit.backbones.SentencePieceTokenizer", "model": "nowhere/beit3.spm"}
    model = {"parts": [{"weights": "nowhere.safetensors", "tokenizer": gone}, here], "weights": [1.0, 2.0]}
    changed = without_files(model, tmp_path)
    assert changed["parts"][0]["weights"] is None
    assert changed["weights"] == [1.0, 2.0]  # of a mixture
    assert here["model"] == "model_zoo/refshapes/refshapes.spm"
    tokenizer = SentencePieceTokenizer(gone["model"])
    assert tokenizer.vocab_size == BEIT3_PIECES + 2
    assert tokenizer.spell(tokenizer(["the dog"])[0].tolist())[1:-1] == [("the", 3), ("dog", 3)]


@pytest.mark.parametrize("name", ["oneref_base_refcoco", "oneref_base_joint_mixture"])
def test_oneref_is_measured_without_its_files(name, tmp_path):
    config = load_config(f"oneref/{name}")
    shrunk(config.model)
    subject = Subject(config, 2, torch.device("cpu"), tmp_path)
    losses = subject.training_step("float32")()
    assert ("loss_seg_dice" in losses) == ("joint" in name)
    subject.model.eval()
    assert [answer.boxes.shape for answer in subject.evaluation("float32")()] == [(1, 4), (1, 4)]


def test_a_vocabulary_of_t5_that_is_not_here(tmp_path):
    gone = {"type": T5Tokenizer, "model": "nowhere/spiece.model"}
    without_files({"tokenizer": gone}, tmp_path)
    tokenizer = T5Tokenizer(gone["model"])
    assert tokenizer.vocab_size == T5_PIECES
    ids, _ = tokenizer.encode(["the dog"], 32, begin=False, end=True)
    assert ids[0, -1] == 1 and tokenizer.decode(ids.tolist()) == ["the dog"]


def test_lists_of_names_that_are_not_here_get_the_published_length(tmp_path):
    (tmp_path / "own.txt").write_text("red\nblue\n")
    contrast = {"type": RegionContrastHead, "attributes": "no.json", "categories": str(tmp_path / "own.txt")}
    model = {"tag": {"type": TagHead, "tags": "nowhere.txt"}, "contrast": contrast}
    without_files(model, tmp_path)
    assert len(Vocabulary(model["tag"]["tags"], 4).names) == 4585
    attributes = Vocabulary(contrast["attributes"], 4)
    assert (len(attributes.names), len(attributes.prompts)) == (117, 474)
    assert contrast["categories"] == str(tmp_path / "own.txt")


def test_dynrefer_is_measured_without_its_files(tmp_path):
    """Narrow blocks; words, views and patches are the published ones. Tags, of which there are many, are out."""
    config = load_config("dynrefer/ablation/no_tag_head")
    shrunk(config.model)
    config.model.heads.caption.language_model.size["vocab_size"] = T5_PIECES + 128
    subject = Subject(config, 2, torch.device("cpu"), tmp_path)
    assert subject.training_step("float32")().keys() >= {"loss_contrast", "loss_caption"}
