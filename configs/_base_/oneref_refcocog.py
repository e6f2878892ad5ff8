"""The released recipe of OneRef on RefCOCOg, umd division."""

from mmengine.config import read_base

with read_base():
    from .oneref_recipe import *

train_dataloader["dataset"].update(records="records/refcocog.umd.train.jsonl")
val_dataloader["dataset"].update(records="records/refcocog.umd.val.jsonl")
test_dataloader["dataset"].update(records="records/refcocog.umd.test.jsonl")
