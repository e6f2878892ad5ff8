"""The metric of captions of drawn objects."""

import pytest

from refkit.data.refshapes.dataset import RefShapesObjects
from refkit.engine import SceneCaptionMetric
from refkit.registry import METRICS
from refkit.structures import Prediction


def test_shares_of_true_captions():
    data = RefShapesObjects(scenes=3, size=48)
    samples = [data[index] for index in range(8)]
    metric = METRICS.build(dict(type="SceneCaptionMetric"))
    assert isinstance(metric, SceneCaptionMetric)
    told = [sample.meta["references"][-1] for sample in samples]
    told[0], told[1] = None, "a grey " + told[1].split()[-1]
    told[2] = told[2].replace(samples[2].categories[0], "house", 1)
    answers = [Prediction(sample.id, caption=text) for sample, text in zip(samples, told, strict=True)]
    metric.process({"data_samples": samples[:5]}, answers[:5])
    metric.process({"data_samples": samples[5:]}, answers[5:])
    found = metric.evaluate(8)
    assert found["scene_caption/all"] == pytest.approx(5 / 8)
    assert found["scene_caption/silent"] == pytest.approx(1 / 8)
    assert found["scene_caption/shape"] <= 6 / 8
    assert found["scene_caption/colour"] == pytest.approx(6 / 8)


def test_other_samples_are_refused():
    sample = RefShapesObjects(scenes=3, size=48)[0]
    sample.meta = {}
    with pytest.raises(ValueError, match="RefShapesObjects"):
        SceneCaptionMetric().process({"data_samples": [sample]}, [Prediction(sample.id)])
