"""Visual Genome 1.2: region captions to learn from, dense captions of given boxes to be scored by."""

from mmengine.config import read_base

with read_base():
    from .dynrefer_recipe import *

from refkit.data.dense_regions import DenseRegions
from refkit.engine import DenseCaptionMetric

train_dataloader["dataset"].update(records="records/vg.1_2.train.jsonl")
val_dataloader.update(
    dataset=dict(type=DenseRegions, pipeline=test_pipeline, records="records/densecap/vg.1_2.val.jsonl")
)
test_dataloader.update(
    dataset=dict(
        type=DenseRegions,
        pipeline=test_pipeline,
        records="records/densecap/vg.1_2.test.jsonl",
        detections=None,
    )
)
val_evaluator = dict(type=DenseCaptionMetric, protocol="densecap/python")
test_evaluator = val_evaluator
default_hooks.update(checkpoint=dict(save_best="densecap/map"))
