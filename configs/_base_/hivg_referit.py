"""The released recipe of HiVG on ReferItGame, berkeley division."""

from mmengine.config import read_base

with read_base():
    from .hivg_recipe import *

train_dataloader["dataset"].update(records="records/referit.berkeley.train.jsonl")
val_dataloader["dataset"].update(records="records/referit.berkeley.val.jsonl")
test_dataloader["dataset"].update(records="records/referit.berkeley.test.jsonl")
