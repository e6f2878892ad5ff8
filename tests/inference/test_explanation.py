"""What a model looked at: the numbers, where they lie on the picture, and the sheet they are drawn on."""

import json

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from tiny_grounder import PIPELINE, model_config
from tiny_models import SIZE, pretrain_config

from refkit.data.collate import collate
from refkit.inference.explanation import ExplanationError, PatchMap, explain
from refkit.inference.explanation_sheet import accuracy_picture, explanation_figure, explanation_sheet
from refkit.inference.history import HistoryError, Validation, main_metric, read_history
from refkit.inference.inferencer import load_model
from refkit.registry import MODELS
from refkit.structures import Frame
from refkit.zoo.weights import save_weights

TEXT = "the left dog"
HISTORY = [
    Validation(epoch, "warm-up" if epoch < 3 else "hilora-1", {"loss": 1.0, "rec/acc50": 0.1 * epoch})
    for epoch in (1, 2, 3, 4)
]


@pytest.fixture(scope="module")
def inferencer(tmp_path_factory):
    """Two grounding layers, a region-text head, similarity before fusion."""
    torch.manual_seed(0)
    config = model_config()
    config["backbone"]["similarity"] = True
    config["encoder"]["layers"] = 2
    config["heads"]["region_text"] = {"type": "RegionTextHead"}
    path = tmp_path_factory.mktemp("weights") / "seeing.safetensors"
    return load_model(
        save_weights(MODELS.build(config), path, {"model": config, "pipeline": PIPELINE}), "cpu"
    )


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(1).integers(0, 255, (48, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def explanation(inferencer, picture):
    return explain(inferencer, picture, TEXT)


def features_of(inferencer, picture):
    _, sample = inferencer.prepare(picture, TEXT)
    inputs = inferencer.model.data_preprocessor(collate([sample]))["inputs"]
    with torch.inference_mode():
        return inferencer.model.features(inputs, attention=True)


def test_all_attention_of_the_region_token_is_accounted_for(explanation):
    assert sum(explanation.shares.values()) == pytest.approx(1.0, abs=1e-5)
    assert sum(share for _, share in explanation.words) == pytest.approx(
        explanation.shares["words"], abs=1e-6
    )
    assert explanation.layers[-1].values.sum() == pytest.approx(explanation.shares["patches"], abs=1e-6)
    assert [word for word, _ in explanation.words] == ["[start]", "the", "left", "dog", "[end]"]


def test_the_numbers_are_those_of_the_model(inferencer, picture, explanation):
    features = features_of(inferencer, picture)
    for layer, map_ in enumerate(explanation.layers):
        row = features.attention[f"grounding.{layer}"][0, :, 0].mean(dim=0).numpy()
        np.testing.assert_allclose(map_.values.ravel(), row[2:18], atol=1e-6)
    assert explanation.words[2][1] == pytest.approx(float(row[20]), abs=1e-6)
    np.testing.assert_allclose(explanation.similarity.values.ravel(), features.similarity[0], atol=1e-6)
    head = inferencer.model.heads["region_text"]
    with torch.inference_mode():
        expected = head(features)[0].sigmoid().numpy()
    np.testing.assert_allclose(explanation.region_text.values.ravel(), expected, atol=1e-6)
    np.testing.assert_array_equal(
        explanation.prediction.boxes, inferencer.ground(picture, TEXT).boxes, strict=True
    )


def test_padding_gets_no_attention_and_is_not_shown(explanation):
    for map_ in explanation.layers:
        assert not map_.shown[[0, 3]].any() and map_.shown[1:3].all()
        assert not map_.values[~map_.shown].any()


def test_what_the_model_lacks_is_left_out(tmp_path, picture):
    config = model_config()
    path = tmp_path / "plain.safetensors"
    save_weights(MODELS.build(config), path, {"model": config, "pipeline": PIPELINE})
    found = explain(load_model(path), picture, TEXT)
    assert found.region_text is None and found.similarity is None and len(found.layers) == 1
    assert texts_of(explanation_figure(found, "plain")) >= {"answer", "attention of [REG], layer 1"}


def test_a_head_that_was_switched_off_is_not_shown(inferencer, picture, monkeypatch):
    monkeypatch.setattr(inferencer.model, "without", frozenset({"heads.region_text"}))
    assert explain(inferencer, picture, TEXT).region_text is None


def test_a_model_without_grounding_encoder_is_refused(tmp_path, picture):
    config = pretrain_config({"type": "WordTokenizer", "vocabulary": WORDS_OF_SIZE, "context_length": 12})
    config = {**config, "type": "CLIPPretrain", "backbone": {"type": "CLIPBackbone", "size": SIZE}}
    config["data_preprocessor"] = {"type": "ReferringPreprocessor", "tokenizer": config["tokenizer"]}
    path = tmp_path / "clip.safetensors"
    save_weights(MODELS.build(config), path, {"model": config, "pipeline": PIPELINE})
    with pytest.raises(ExplanationError, match="CLIPPretrain has no grounding encoder"):
        explain(load_model(path), picture, TEXT)


WORDS_OF_SIZE = ["[pad]", "[unk]", *(f"w{index}" for index in range(36)), "[start]", "[end]"]


def test_a_patch_lies_where_the_picture_shows_it():
    # 200 x 100 pixels, halved to 100 x 50 in the middle of 100 x 100, 10 x 10 patches.
    frame = Frame((200, 100), (100, 100), (0.5, 0.5), (0.0, 25.0))
    values = np.zeros((10, 10), np.float32)
    values[4, 7] = 1.0
    over = PatchMap(values, np.ones((10, 10), bool), frame).over(200, 100)
    assert over.shape == (100, 200)
    # Patch (4, 7) has its centre at (75, 45) of the canvas, hence at (150, 40) of the picture.
    centre = np.unravel_index(over.argmax(), over.shape)
    assert abs(centre[0] - 40) <= 1 and abs(centre[1] - 150) <= 1
    assert over[:, :125].max() == 0 and over[70:].max() == 0
    small = PatchMap(values, np.ones((10, 10), bool), frame).over(20, 10)
    assert np.unravel_index(small.argmax(), small.shape) in [(3, 14), (3, 15), (4, 14), (4, 15)]


def test_a_mirrored_canvas_is_mirrored_back():
    frame = Frame((100, 100), (100, 100), (-1.0, 1.0), (100.0, 0.0))
    values = np.zeros((5, 5), np.float32)
    values[0, 0] = 1.0
    over = PatchMap(values, np.ones((5, 5), bool), frame).over(100, 100)
    assert over[5, 95] == pytest.approx(1.0, abs=0.01) and over[:, :60].max() == 0


def test_padding_neither_shows_nor_darkens_its_neighbours():
    frame = Frame((200, 100), (100, 100), (0.5, 0.5), (0.0, 25.0))
    shown = np.zeros((8, 8), bool)
    shown[2:6] = True
    values = np.where(shown, 0.25, 99.0).astype(np.float32)
    np.testing.assert_allclose(PatchMap(values, shown, frame).over(50, 25), 0.25, atol=1e-6)


def texts_of(figure):
    return {text.get_text() for text in figure.findobj(Text)}


def test_the_sheet_has_every_map_word_and_stage(explanation):
    written = texts_of(explanation_figure(explanation, "seeing", HISTORY))
    assert written >= {
        "“the left dog”\nseeing",
        "attention of [REG], layer 2",
        "sentence and patch after fusion",
        "sentence and patch before fusion",
        "dog",
        "[end]",
        "rec/acc50 while training: best 0.400 after epoch 4",
        "warm-up",
        "hilora-1",
    }
    assert sum("on the picture" in text for text in written) == 2
    assert not any("while training" in text for text in texts_of(explanation_figure(explanation, "seeing")))


def test_the_sheet_is_large_enough_to_read_and_shows_the_picture_in_colour(explanation):
    sheet = explanation_sheet(explanation, "a $1 model_2", HISTORY)
    assert sheet.width >= 1200 and sheet.mode == "RGB"
    pixels = np.asarray(sheet).astype(int)
    colourful = (pixels.max(axis=2) - pixels.min(axis=2) > 60).mean()
    assert colourful > 0.05


def test_tall_pictures_do_not_make_endless_sheets(inferencer):
    thin = np.random.default_rng(2).integers(0, 255, (400, 20, 3), dtype=np.uint8)
    sheet = explanation_sheet(explain(inferencer, thin, TEXT), "seeing")
    assert sheet.height < 2 * sheet.width


def test_the_curve_stands_alone_too():
    assert accuracy_picture(HISTORY).size == (880, 440)
    assert accuracy_picture(HISTORY, "loss").size == (880, 440)
    with pytest.raises(HistoryError, match="the run holds no validation with 'rec/acc5'"):
        accuracy_picture(HISTORY, "rec/acc5")
    with pytest.raises(HistoryError, match="the run holds no validation"):
        accuracy_picture([])


def test_history_is_read_by_epoch(tmp_path):
    assert read_history(tmp_path) == []
    entries = [
        {"iteration": 10 * entry.epoch, "epoch": entry.epoch, "stage": entry.stage, "metrics": entry.metrics}
        for entry in HISTORY
    ]
    (tmp_path / "run.json").write_text(json.dumps({"history": entries[::-1]}))
    assert read_history(tmp_path) == HISTORY
    assert main_metric(HISTORY) == "rec/acc50"
    assert main_metric([Validation(1, "", {"other/x": 1.0})]) == "other/x"
    assert main_metric([]) is None
    for broken in ("{", "[]", '{"history": [{}]}', '{"history": 3}'):
        (tmp_path / "run.json").write_text(broken)
        with pytest.raises(HistoryError, match="not the record of a training run"):
            read_history(tmp_path)


def test_a_picture_file_gives_the_same_as_its_pixels(inferencer, picture, explanation, tmp_path):
    Image.fromarray(picture).save(tmp_path / "p.png")
    found = explain(inferencer, tmp_path / "p.png", TEXT)
    np.testing.assert_array_equal(found.layers[0].values, explanation.layers[0].values)
