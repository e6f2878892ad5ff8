"""The shipped vocabularies of the small models are what their script trains."""

from __future__ import annotations

import runpy

import pytest
from sentencepiece import SentencePieceProcessor

from refkit.backbones import SentencePieceTokenizer, T5Tokenizer
from refkit.data.control_words import control_prompt
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.data.refshapes.dataset import RefShapesDataset, RefShapesObjects
from refkit.data.refshapes.expressions import vocabulary


@pytest.fixture(scope="module")
def script(request):
    return runpy.run_path(str(request.config.rootpath / "tools" / "train_refshapes_spm.py"))


@pytest.fixture(scope="module")
def shipped(request):
    path = request.config.rootpath / "model_zoo" / "refshapes" / "refshapes.spm"
    return SentencePieceTokenizer(path, context_length=24)


@pytest.fixture(scope="module")
def captions(request):
    return T5Tokenizer(request.config.rootpath / "model_zoo" / "refshapes" / "refshapes_t5.spm")


def test_training_again_gives_the_shipped_pieces(script, shipped):
    packed = script["train"](script["texts"](script["SEED"], script["SCENES"]))
    trained = SentencePieceProcessor(model_proto=packed)
    stored = SentencePieceProcessor(model_file=shipped.model)
    names = [[part.id_to_piece(i) for i in range(part.get_piece_size())] for part in (trained, stored)]
    assert names[0] == names[1]


def test_training_t5s_again_gives_the_shipped_pieces(script, captions):
    packed = script["train"](script["caption_texts"](script["SEED"], script["SCENES"]), t5=True)
    trained = SentencePieceProcessor(model_proto=packed)
    stored = SentencePieceProcessor(model_file=captions.model)
    names = [[part.id_to_piece(i) for i in range(part.get_piece_size())] for part in (trained, stored)]
    assert names[0] == names[1]


def test_captions_and_prompts_of_objects_come_back(captions):
    data = RefShapesObjects(scenes=40, scene_seed=99)
    texts = [text for index in range(len(data)) for text in data.record(index).references]
    texts += [control_prompt(data.record(index).facts["tags"]) for index in range(len(data))]
    ids, mask = captions.encode(texts, 32, begin=False, end=True)
    assert mask.sum(dim=1).max() < 32 and not (ids == 2).any()
    assert captions.decode(ids.tolist()) == texts


def test_a_vocabulary_of_recorded_captions(script, tmp_path, monkeypatch):
    image = ImageRef("a.png", 60, 40)
    said = [["The RED car.", "a car, parked"], ["a dog's ears"]]
    records = [
        Record(f"r{number}", image, targets=[Target((1.0, 2.0, 30.0, 20.0))], references=references)
        for number, references in enumerate(said)
    ]
    for number, record in enumerate(records):
        write_records(tmp_path / f"{number}.jsonl", Header("mine", "own", "all", task=["caption"]), [record])
    files = [str(tmp_path / f"{number}.jsonl") for number in range(2)]
    out = tmp_path / "words.spm"
    monkeypatch.setattr("sys.argv", ["x", "--t5", "--out", str(out), "--pieces", "60", "--records", *files])
    script["main"]()
    tokenizer = T5Tokenizer(out)
    texts = ["the red car", "a car, parked", "a dog's ears", control_prompt(())]
    ids, _ = tokenizer.encode(texts, 64, begin=False, end=True)
    assert not (ids == 2).any() and tokenizer.decode(ids.tolist()) == texts


def test_every_word_of_refshapes_is_one_piece_and_none_is_unknown(shipped):
    words = {word for text in vocabulary() for word in text.lower().split()}
    for word, ids in zip(sorted(words), shipped.encode(sorted(words)), strict=True):
        assert len(ids) == 1 and ids != [shipped.unk_id], word


def test_expressions_fit(shipped):
    data = RefShapesDataset(scenes=40, scene_seed=99)
    ids = shipped([data.record(index).text for index in range(len(data))])
    assert not shipped.cut_texts
    assert (ids != shipped.unk_id).all()
