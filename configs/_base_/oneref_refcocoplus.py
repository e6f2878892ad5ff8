"""The released recipe of OneRef on RefCOCO+."""

from mmengine.config import read_base

with read_base():
    from .oneref_recipe import *

train_dataloader["dataset"].update(records="records/refcocoplus.unc.train.jsonl")
val_dataloader["dataset"].update(records="records/refcocoplus.unc.val.jsonl")
test_dataloader["dataset"].update(records="records/refcocoplus.unc.testA.jsonl")
