"""The page of validation samples uses the colours of the prediction pages."""

from types import SimpleNamespace

import numpy as np

from refkit.engine.hooks.pictures import SamplePicturesHook, tile
from refkit.inference.drawing import PREDICTED, TRUE
from refkit.rle import encode
from refkit.structures import Frame, Prediction, ReferringSample


def test_annotation_and_prediction_have_the_colours_of_all_pages():
    image = np.zeros((224, 224, 3), np.uint8)
    left, right = np.array([[20, 20, 90, 200]], np.float32), np.array([[130, 20, 200, 200]], np.float64)
    sample = ReferringSample(
        id="q", text="left", image=image, boxes=left, masks=None, frame=Frame.identity(224, 224)
    )
    pixels = np.asarray(tile(image, sample, Prediction(id="q", boxes=right)).convert("RGB"))[100:110]
    assert (pixels[:, :112] == TRUE).all(-1).any()
    assert not (pixels[:, :112] == PREDICTED).all(-1).any()
    assert (pixels[:, 112:224] == PREDICTED).all(-1).any()


def tinted(frame, mask):
    """Where the tile of a black canvas of 224 x 224 pixels is tinted."""
    sample = ReferringSample(id="q", text="left", image=np.zeros((224, 224, 3), np.uint8), frame=frame)
    pixels = np.asarray(tile(sample.image, sample, Prediction(id="q", mask=encode(mask))).convert("RGB"))
    return pixels[:224].any(axis=-1)


def test_a_mask_of_the_picture_lies_on_the_canvas_where_the_picture_does():
    wide = Frame((448, 224), (224, 224), (0.5, 0.5), (0.0, 56.0))
    mask = np.zeros((224, 448), bool)
    mask[:, 224:] = True
    expected = np.zeros((224, 224), bool)
    expected[56:168, 112:] = True
    assert np.array_equal(tinted(wide, mask), expected)


def test_a_mask_of_the_canvas_shows_its_padding():
    wide = Frame((448, 224), (224, 224), (0.5, 0.5), (0.0, 56.0))
    mask = np.zeros((224, 224), bool)
    mask[:, :100] = True
    assert np.array_equal(tinted(wide, mask), mask)


def test_samples_of_regions_have_no_canvas_and_make_no_page(tmp_path):
    hook = SamplePicturesHook(count=2)
    hook._after_iter(None, 0, {"inputs": {"views": None}, "data_samples": []}, [], mode="val")
    hook._after_epoch(SimpleNamespace(work_dir=tmp_path), mode="val")
    assert not list(tmp_path.iterdir())
