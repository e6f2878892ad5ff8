"""The released recipe of OneRef on RefCOCO."""

from mmengine.config import read_base

with read_base():
    from .oneref_recipe import *

train_dataloader["dataset"].update(records="records/refcoco.unc.train.jsonl")
val_dataloader["dataset"].update(records="records/refcoco.unc.val.jsonl")
test_dataloader["dataset"].update(records="records/refcoco.unc.testA.jsonl")
