"""Data of OneRef's pre-training for boxes: ``oneref_mrefm_data.py`` and ReferIt, 375,454 expressions."""

from mmengine.config import read_base

with read_base():
    from .oneref_mrefm_data import *

train_dataloader["dataset"]["members"].append(
    dict(type=ReferringDataset, pipeline=masked_pipeline, records="records/referit.berkeley.train.jsonl")
)
train_dataloader["dataset"]["evaluates_on"].extend(
    ["records/referit.berkeley.val.jsonl", "records/referit.berkeley.test.jsonl"]
)
