"""Loading a model from every kind of source, and asking it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_describer import save_tiny_describer
from tiny_grounder import (
    PIPELINE,
    model_config,
    save_tiny_model,
    save_tiny_work_dir,
    write_tiny_records,
)

from refkit.data.dataset import ReferringDataset
from refkit.data.images import ImageError
from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.engine.precision import choose_precision
from refkit.inference.inferencer import DeviceError, load_model
from refkit.inference.model_config import ModelConfig, ModelConfigError
from refkit.inference.question import QuestionError, read_picture
from refkit.inference.source import ModelSourceError, locate_model
from refkit.registry import MODELS
from refkit.structures import Frame
from refkit.zoo.index import file_sha256
from refkit.zoo.weights import WeightError, save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    return save_tiny_work_dir(tmp_path_factory.mktemp("run") / "tiny_run")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_tiny_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    pixels = np.random.default_rng(1).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("picture") / "dog.png"
    Image.fromarray(pixels).save(path)
    return path


def test_a_box_comes_back_in_pixels_of_the_picture(weights, picture):
    inferencer = load_model(weights, device="cpu")
    prediction = inferencer.ground(picture, "the left dog")
    assert prediction.boxes.shape == (1, 4)
    tensors = inferencer.model(
        **inferencer.model.data_preprocessor(
            {
                "inputs": {
                    "images": torch.from_numpy(letterboxed(picture)).permute(2, 0, 1)[None],
                    "padding": padding_of_a_wide_picture(),
                },
                "data_samples": [FakeText("the left dog")],
            }
        ),
        mode="tensor",
    )
    centre_x, centre_y, width, height = tensors["pred_boxes"][0].tolist()
    canvas = np.array(
        [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    )
    frame = Frame((96, 48), (32, 32), (1 / 3, 1 / 3), (0.0, 8.0))
    expected = np.clip(frame.to_original(canvas * 32), 0, [96, 48, 96, 48])
    np.testing.assert_allclose(prediction.boxes[0], expected, atol=1e-3)


class FakeText:
    """The only thing that the preprocessor reads of a sample."""

    def __init__(self, text):
        self.text = text


def letterboxed(picture):
    canvas = np.zeros((32, 32, 3), np.uint8)
    canvas[8:24] = np.asarray(Image.open(picture).resize((32, 16), Image.Resampling.BILINEAR))
    return canvas


def padding_of_a_wide_picture():
    padding = torch.ones(1, 32, 32, dtype=torch.bool)
    padding[:, 8:24] = False
    return padding


def test_file_image_and_array_give_the_same_answer(weights, picture):
    inferencer = load_model(weights)
    image = Image.open(picture)
    boxes = [
        inferencer.ground(given, "red circle").boxes
        for given in (picture, str(picture), image, np.asarray(image))
    ]
    assert all(np.array_equal(boxes[0], other) for other in boxes)


def test_a_work_folder_its_checkpoint_and_its_export_are_the_same_model(work_dir, picture, tmp_path):
    from_folder = load_model(work_dir)
    assert from_folder.name == "tiny_run/iter_3"
    exported = from_folder.save(tmp_path / "exported.safetensors")
    moved = tmp_path / "elsewhere" / "exported.safetensors"
    moved.parent.mkdir()
    shutil.move(exported, moved)  # the vocabulary file stays behind: the export must not need it
    answers = [
        load_model(source).ground(picture, "the left dog").boxes
        for source in (work_dir, work_dir / "iter_3.pth", moved)
    ]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])


def test_the_best_checkpoint_goes_before_the_newest(work_dir, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(work_dir, folder)
    assert locate_model(folder).weights.name == "iter_3.pth"
    shutil.copy(folder / "iter_3.pth", folder / "best_rec_acc50.pth")
    assert locate_model(folder).weights.name == "best_rec_acc50.pth"


def test_a_zoo_name_is_verified_and_loaded(weights, picture, tmp_path, monkeypatch):
    zoo = tmp_path / "hivg"
    zoo.mkdir()
    shutil.copy(weights, zoo / "tiny.safetensors")
    entry = {
        "Name": "tiny-model",
        "In Collection": "HiVG",
        "Config": "configs/x.py",
        "Weights": "tiny.safetensors",
        "SHA256": file_sha256(weights),
        "Size": weights.stat().st_size,
    }
    (zoo / "metafile.yml").write_text(json.dumps({"Collections": [{"Name": "HiVG"}], "Models": [entry]}))
    monkeypatch.setenv("REFKIT_ZOO", str(tmp_path))
    inferencer = load_model("tiny-model")
    assert inferencer.name == "tiny-model"
    assert inferencer.checkpoint == f"sha256:{file_sha256(weights)}"
    assert np.isfinite(inferencer.ground(picture, "dog").boxes).all()
    with pytest.raises(ModelSourceError, match=r"no model is named 'tiny-modle'. Did you mean 'tiny-model'"):
        load_model("tiny-modle")


def test_predictions_do_not_depend_on_the_batch(weights, records):
    inferencer = load_model(weights)
    dataset = ReferringDataset(records, image_root=records.parent / "pictures", pipeline=PIPELINE)
    single = list(inferencer.predict(dataset, batch_size=1))
    batched = list(inferencer.predict(dataset, batch_size=3))
    assert [prediction.id for prediction in batched] == [f"tiny.{index}" for index in range(7)]
    for one, other in zip(single, batched, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    chosen = list(inferencer.predict(dataset, batch_size=2, indices=[5, 1]))
    assert [prediction.id for prediction in chosen] == ["tiny.5", "tiny.1"]


def test_bfloat16_is_close_to_float32(weights, picture):
    exact = load_model(weights, precision="float32").ground(picture, "the red circle").boxes
    rounded = load_model(weights, precision="bfloat16").ground(picture, "the red circle").boxes
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(exact, rounded, atol=2.0)


def test_precision_is_chosen_by_the_device():
    assert choose_precision("auto", torch.device("cpu")) == "float32"
    assert choose_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    with pytest.raises(ValueError, match="expected one of auto, float32, bfloat16, got 'half'"):
        choose_precision("half", torch.device("cpu"))


def test_a_device_that_is_not_there_is_refused(weights):
    with pytest.raises(DeviceError, match="device 'gpu' cannot be used here"):
        load_model(weights, device="gpu")


def test_a_photograph_on_its_side_is_turned_upright(tmp_path):
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 15:] = 255
    stored = Image.fromarray(pixels)
    stored.getexif()[0x0112] = 6  # to be turned by 90° clockwise
    stored.save(tmp_path / "phone.png", exif=stored.getexif())
    upright = read_picture(tmp_path / "phone.png")
    assert upright.shape == (20, 10, 3)
    assert upright[15:].min() == 255
    assert upright[:15].max() == 0


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_expression_is_refused(weights, picture, text):
    with pytest.raises(QuestionError, match="the expression is empty"):
        load_model(weights).ground(picture, text)


def test_pixels_of_another_type_are_refused(weights):
    with pytest.raises(
        QuestionError, match=r"expected pixels \(H, W, 3\) of uint8 RGB, got \(4, 4, 3\) of float64"
    ):
        load_model(weights).ground(np.zeros((4, 4, 3)), "dog")


def test_missing_and_unreadable_pictures_are_named(weights, tmp_path):
    inferencer = load_model(weights)
    with pytest.raises(ImageError, match=r"nowhere\.jpg does not exist"):
        inferencer.ground(tmp_path / "nowhere.jpg", "dog")
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.jpg is not a picture"):
        inferencer.ground(tmp_path / "text.jpg", "dog")


def test_sources_that_are_no_model_are_refused(tmp_path, work_dir):
    with pytest.raises(ModelSourceError, match="no such file or folder"):
        locate_model(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelSourceError, match="no checkpoint in this folder"):
        locate_model(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelSourceError, match=r"expected a \.safetensors file"):
        locate_model(tmp_path / "notes.txt")
    shutil.copy(work_dir / "iter_3.pth", tmp_path)
    with pytest.raises(ModelSourceError, match="no config"):
        locate_model(tmp_path / "iter_3.pth")


def test_bare_weights_are_refused_with_the_remedy(tmp_path):
    bare = save_weights(MODELS.build(model_config()), tmp_path / "bare.safetensors")
    with pytest.raises(
        ModelSourceError, match=r"bare weights without the model's config. Save it with Inferencer\.save"
    ):
        load_model(bare)


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    config = model_config()
    model = MODELS.build(config)
    config["encoder"]["layers"] = 2
    path = save_weights(model, tmp_path / "other.safetensors", {"model": config, "pipeline": PIPELINE})
    with pytest.raises(WeightError, match=r"encoder\.layers\.1"):
        load_model(path)


@pytest.mark.parametrize("kind", ["os.system", "refkit.data.files.os.system", "subprocess.run", "HiVGG", 3])
def test_a_stored_config_cannot_name_anything_but_registered_classes(kind):
    content = {"model": {"type": kind, "command": "echo"}, "pipeline": []}
    with pytest.raises(
        ModelConfigError, match=r"is not a model of refkit .* another version or was tampered with"
    ):
        ModelConfig.checked(content, "x.safetensors")


def test_dotted_types_of_refkit_become_registered_names():
    content = {
        "model": {"type": "refkit.models.hivg.HiVG", "heads": ({"type": "BoxHead"},)},
        "pipeline": PIPELINE,
    }
    assert ModelConfig.checked(content, "x").model == {"type": "HiVG", "heads": [{"type": "BoxHead"}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "keys 'model' and 'pipeline'"),
        ({"model": [], "pipeline": []}, "'model' to be a mapping"),
        ({"model": {"x": object()}, "pipeline": []}, "a config holds numbers"),
    ],
)
def test_a_stored_config_of_another_shape_is_refused(content, message):
    with pytest.raises(ModelConfigError, match=message):
        ModelConfig.checked(content, "x.safetensors")


def test_a_training_config_without_model_or_transforms_is_refused():
    with pytest.raises(ModelConfigError, match="no 'model' in this config"):
        ModelConfig.from_config({}, "x.py")
    with pytest.raises(ModelConfigError, match="no transforms"):
        ModelConfig.from_config({"model": model_config(), "test_dataloader": {"dataset": {}}}, "x.py")


def test_views_that_regions_share_are_encoded_once(tmp_path):
    model = load_model(save_tiny_describer(tmp_path, selection=[0.0, 1.0]), "cpu")
    picture = ImageRef("a.png", 60, 40)
    boxes = ((1.0, 2.0, 20.0, 30.0), (30.0, 5.0, 55.0, 38.0))
    records = [Record(f"r{row}", picture, targets=[Target(box)]) for row, box in enumerate(boxes)]
    write_records(tmp_path / "r.jsonl", Header("mine", "own", "test", task=["caption"]), records)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = []
    model.model.backbone.tower.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    data = ReferringDataset(tmp_path / "r.jsonl", tmp_path, pipeline=model.pipeline)
    assert len(list(model.predict(data))) == 2
    assert seen == [3]
