"""The released recipe of OneRef on ReferItGame, berkeley division."""

from mmengine.config import read_base

with read_base():
    from .oneref_recipe import *

train_dataloader["dataset"].update(records="records/referit.berkeley.train.jsonl")
val_dataloader["dataset"].update(records="records/referit.berkeley.val.jsonl")
test_dataloader["dataset"].update(records="records/referit.berkeley.test.jsonl")
