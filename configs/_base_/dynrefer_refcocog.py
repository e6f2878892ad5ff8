"""RefCOCOg captions, and the fine-tuning on them: three epochs, from what was trained on Visual Genome."""

from mmengine.config import read_base

with read_base():
    from .dynrefer_recipe import *

from refkit.engine import ProtocolMetric

train_dataloader["dataset"].update(records="records/captions/refcocog.umd.train.jsonl")
val_dataloader["dataset"].update(records="records/captions/refcocog.umd.val.jsonl")
test_dataloader["dataset"].update(records="records/captions/refcocog.umd.val.jsonl")
val_evaluator = dict(type=ProtocolMetric, protocol="caption/expression")
test_evaluator = val_evaluator
train_cfg.update(max_epochs=3)
param_scheduler[0].update(end=3, T_max=3)
default_hooks.update(checkpoint=dict(save_best="caption/meteor"))
