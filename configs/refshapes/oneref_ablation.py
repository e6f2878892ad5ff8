"""The small twin of OneRef for the table on pre-training: Mask Referring Modeling, then fine-tuning.

Not a row of any paper. As it stands, both stages are fine-tuning: the row "no pre-training" of
`configs/refshapes/ablation/oneref.py`, whose other rows hide patches and words in the first. All rows train
equally long in both, with the rates of `oneref_tiny.py`, on fewer objects. The semantic relation score has
the small BEiT-3 of before as its teacher, the visual codes come from ``vqkd_tiny``.

    refkit train configs/refshapes/oneref_ablation.py
"""

from mmengine.config import read_base

with read_base():
    from .oneref_tiny import *

from mmengine.optim import CosineAnnealingLR

from refkit.backbones import VQKD
from refkit.backbones.relation_teacher import BEiT3Teacher
from refkit.data.transforms import Letterbox, MaskText, ReferringMask
from refkit.engine import StagedTrainLoop
from refkit.heads import MaskedImageHead, MaskedTextHead
from refkit.models import MRefM

model.update(
    type=MRefM,
    visual_tokenizer=dict(
        type=VQKD,
        size=dict(width=64, layers=3, heads=2, image_size=96, patch_size=12, codes=64, code_width=16),
        weights="model_zoo/refshapes/vqkd_tiny.safetensors",
    ),
    relation_teacher=dict(type=BEiT3Teacher, backbone={**backbone, "modality_gap": 0.0}),
    preset="published",
    schedule="alternate",
    relation_softmax="single",
)
model["heads"].update(
    masked_image=dict(type=MaskedImageHead, codes=64),
    masked_text=dict(type=MaskedTextHead, vocabulary=202, context_length=20, drop_from=10000),
)
few_objects = dict(min_objects=3, max_objects=5, draw_ahead=True)
hiding = [
    dict(type=Letterbox, size=96),
    dict(type=ReferringMask, patch_size=12, rule="published"),
    dict(type=MaskText, tokenizer=tokenizer, rule="published"),
]
train_dataloader.update(batch_size=32, num_workers=0, persistent_workers=False)
train_dataloader["dataset"].update(scenes=3000, keep=3000, pipeline=hiding, **few_objects)
train_dataloader["sampler"].update(samples=1536)
val_dataloader.update(batch_size=100, num_workers=0, persistent_workers=False)
val_dataloader["dataset"].update(keep=200, **few_objects)
fine_tuning = dict(without=["heads.masked_image", "heads.masked_text"])
train_cfg = dict(
    type=StagedTrainLoop,
    val_interval=10,
    stages=[
        dict(name="pre-training", epochs=5, lr=2e-3, model=fine_tuning),
        dict(name="fine-tuning", epochs=5, lr=2e-3, model=fine_tuning),
    ],
)
# Of each stage, in steps of iterations, from its begin to its end.
param_scheduler = [dict(type=CosineAnnealingLR, by_epoch=True, convert_to_iter_based=True)]
default_hooks["checkpoint"].update(interval=10, save_best=None)
default_hooks["pictures"].update(count=0)
