"""The page of validation samples uses the colours of the prediction pages."""

import numpy as np

from refkit.engine.hooks.pictures import tile
from refkit.inference.drawing import PREDICTED, TRUE
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
