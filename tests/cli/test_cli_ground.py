"""``refkit ground``: JSON alone on stdout, a picture on disk, errors that say what to do."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny_describer import save_tiny_describer
from tiny_grounder import joint_config, save_tiny_model, save_tiny_work_dir
from typer.testing import CliRunner

from refkit import rle
from refkit.cli.main import app
from refkit.inference.inferencer import load_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    pixels = np.random.default_rng(1).integers(0, 255, (48, 96, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("picture") / "dog.png"
    Image.fromarray(pixels).save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["ground", *map(str, arguments)])


def test_json_on_stdout_and_the_picture_on_disk(weights, picture, tmp_path):
    out = tmp_path / "answer.png"
    result = run(picture, "the left dog", "--model", weights, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    expected = load_model(weights, "cpu").ground(picture, "the left dog").boxes
    np.testing.assert_allclose(answer["boxes"], expected, atol=1e-4)
    assert (answer["width"], answer["height"], answer["text"]) == (96, 48, "the left dog")
    assert (answer["model"], answer["precision"], answer["picture"]) == ("tiny", "float32", str(out))
    with Image.open(out) as drawn:
        assert drawn.width >= 96


def test_nothing_but_json_leaves_a_fresh_process(weights, picture, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "refkit", "ground", picture, "dog", "--model", weights, "--json-only"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["boxes"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_box_and_mask_of_one_model(picture, tmp_path):
    joint = save_tiny_model(tmp_path, "joint", joint_config())
    out = tmp_path / "masked.png"
    result = run(picture, "the left dog", "--model", joint, "--mask", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert np.shape(answer["boxes"]) == (1, 4)
    assert answer["mask"]["size"] == [48, 96]
    mask = rle.decode(answer["mask"])
    assert 0 < mask.sum() < mask.size
    drawn = np.asarray(Image.open(out).convert("RGB")).astype(int)[: 48 * 360 // 96]
    with Image.open(picture) as plain:
        before = np.asarray(plain.convert("RGB").resize(drawn.shape[1::-1], Image.Resampling.LANCZOS))
    inside = np.asarray(Image.fromarray(mask).resize(drawn.shape[1::-1], Image.Resampling.NEAREST))
    changed = np.abs(drawn - before).max(axis=-1) > 8
    assert changed[inside].mean() > 0.9 > 0.5 > changed[~inside].mean()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "'other' answers without a mask; --mask needs one that was trained with a mask head"),
        (joint_config(metric_resolution="canvas"), "masks of its own canvas"),
    ],
)
def test_a_mask_that_does_not_exist_is_refused(picture, tmp_path, config, message):
    weights = save_tiny_model(tmp_path, "other", config)
    result = run(picture, "dog", "--model", weights, "--mask", "--json-only")
    assert result.exit_code != 0
    assert message in " ".join(result.stderr.split())
    assert not result.stdout


def test_the_answer_stands_where_the_model_cannot_explain_it(picture, tmp_path):
    joint = save_tiny_model(tmp_path, "joint", joint_config())
    out, why = tmp_path / "masked.png", tmp_path / "why.png"
    result = run(picture, "dog", "--model", joint, "--mask", "--out", out, "--explain", why)
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["mask"] and answer["picture"] == str(out) and "explanation" not in answer
    assert out.is_file() and not why.exists()
    message = "".join(result.stderr.split())
    assert f"--explain{why}:" in message and "hasnogroundingencoder" in message


def test_a_model_of_regions_is_refused(picture, tmp_path):
    result = run(picture, "dog", "--model", save_tiny_describer(tmp_path), "--json-only")
    assert result.exit_code == 2 and not result.stdout
    message = " ".join(result.stderr.split())
    assert "'regions' (DynRefer) describes regions and does not ground" in message
    assert "ask it with 'refkit describe'" in message


def test_an_explanation_beside_the_answer(picture, tmp_path):
    folder = save_tiny_work_dir(tmp_path / "run")
    without = tmp_path / "without.png"
    result = run(picture, "dog", "--model", folder, "--explain", without, "--json-only")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["explanation"] == str(without) and "picture" not in answer
    entry = {"iteration": 3, "epoch": 1, "stage": "", "metrics": {"rec/acc50": 0.5}}
    (folder / "run.json").write_text(json.dumps({"history": [entry]}))
    with_curve = tmp_path / "with.jpg"
    result = run(picture, "dog", "--model", folder, "--explain", with_curve, "--out", tmp_path / "answer.png")
    assert {"picture", "explanation"} <= json.loads(result.stdout).keys()
    pages = [np.asarray(Image.open(page).convert("RGB")).astype(int) for page in (without, with_curve)]
    # The curve is the only thing in vermilion (up to JPEG) in the lower right corner.
    shares = [(np.abs(page[-250:, -600:] - (213, 94, 0)).max(axis=-1) < 60).mean() for page in pages]
    assert shares[0] == 0 < shares[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "nowhere.jpg"}, "nowhere.jpg does not exist"),
        ({"image": __file__}, "is not a picture that Pillow can read"),
        ({"text": "  "}, "the expression is empty"),
        ({"model": "no-such-model"}, "no model is named 'no-such-model'"),
        ({"model": "folder/none.safetensors"}, "there is no such file or folder"),
        ({"device": "gpu"}, "device 'gpu' cannot be used here"),
        ({"out": "answer.gif"}, "expected a name that ends in .png or .jpg"),
        ({"explain": "why.pdf"}, "why.pdf: expected a name that ends in .png or .jpg"),
    ],
)
def test_errors_are_one_message_without_traceback(weights, picture, tmp_path, monkeypatch, changes, message):
    monkeypatch.setenv("REFKIT_ZOO", str(tmp_path))
    given = {
        "image": picture,
        "text": "dog",
        "model": weights,
        "device": "cpu",
        "out": tmp_path / "x.png",
        "explain": tmp_path / "y.png",
    } | changes
    result = run(
        given["image"],
        given["text"],
        *("--model", given["model"], "--device", given["device"], "--out", given["out"]),
        *("--explain", given["explain"]),
    )
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", "")
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
