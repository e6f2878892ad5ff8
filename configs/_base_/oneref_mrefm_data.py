"""Data of OneRef's pre-training as released: the mixture of three training sets, patches and words hidden.

Nothing is evaluated: the released scripts kept the weights that an untrained box head liked best, and went on
from the last ones.
"""

from mmengine.config import read_base

with read_base():
    from .oneref_mixture import *

from refkit.backbones import SentencePieceTokenizer
from refkit.data.transforms import MaskText, ReferringMask

# As for fine-tuning, but pictures do not become as small.
masked_pipeline = [
    *train_pipeline[:2],
    dict(type=RandomResize, choices=[384, 352, 320, 288, 256, 224], side="long"),
    *train_pipeline[3:],
    dict(type=ReferringMask, patch_size=16, rule="published", beta=0.35, gamma=0.75),
    dict(
        type=MaskText,
        tokenizer=dict(type=SentencePieceTokenizer, model="downloads/beit3.spm", context_length=64),
        rule="published",
        ratio=0.4,
    ),
]
train_dataloader["dataset"]["members"][0].update(pipeline=masked_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=masked_pipeline)
train_dataloader["dataset"]["members"][2].update(pipeline=masked_pipeline)
val_dataloader = None
val_cfg = None
test_dataloader = None
test_cfg = None
default_hooks.update(checkpoint=dict(save_best=None))
find_unused_parameters = True  # every step leaves one of the two masked heads out
