"""Mask Referring Modeling for boxes as the paper describes it: OneRef-B on four training sets.

No row of a table: no published value. Data, batches and schedule as in `mrefm_base_rec`.

Where it differs from the released scripts: every step hides patches and words, in two passes; regions are
hidden in blocks (Algorithm 1); words are predicted from their product with the picture; both relation
scores are learned. Labels of the semantic score were never published: they are computed here by a frozen
BEiT-3 that was tuned for retrieval, region and picture weighing 0.5 each, which is refkit's choice.
Starts as `mrefm_base_rec`; the teacher is the released beit3_base_itc_patch16_224.pth.

    refkit zoo import downloads/beit3_base_itc_patch16_224.pth --layout beit3 \
        --out downloads/beit3_base_itc.safetensors
    refkit train configs/oneref/mrefm_base_rec_paper.py
"""

from mmengine.config import read_base

with read_base():
    from .mrefm_base_rec import *

from refkit.backbones import BEiT3Backbone
from refkit.backbones.relation_teacher import BEiT3Teacher

model.update(
    preset="paper",
    relation_teacher=dict(
        type=BEiT3Teacher,
        backbone=dict(
            type=BEiT3Backbone, size="base", image_size=224, weights="downloads/beit3_base_itc.safetensors"
        ),
        region_weight=0.5,
        image_weight=0.5,
        mean=[0.5, 0.5, 0.5],
        std=[0.5, 0.5, 0.5],
    ),
)
masked_pipeline[-2].update(rule="paper")
masked_pipeline[-1].update(rule="paper")
train_dataloader["dataset"]["members"][0].update(pipeline=masked_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=masked_pipeline)
train_dataloader["dataset"]["members"][2].update(pipeline=masked_pipeline)
train_dataloader["dataset"]["members"][3].update(pipeline=masked_pipeline)
