"""Configs that start from released files can be measured on a machine that has none of them."""

from __future__ import annotations

import pytest
import torch
from stand_ins import shrunk

from refkit.backbones import SentencePieceTokenizer
from refkit.engine.config import load_config
from refkit.inference.benchmark.absent import BEIT3_PIECES, without_files
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
