"""DynRefer on VG-COCO and RefCOCOg from one view: the whole picture and RoIAlign.

Table 7, row 2. Published values: OVAD mAP 19.7; COCO accuracy 74.3; VG-COCO mAP 39.1; RefCOCOg METEOR 17.2,
CIDEr 110.0.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/whole_picture.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=1)
train_pipeline[-1].update(views=1, selection=[1.0])
test_pipeline[-1].update(views=1, selection=[1.0])
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
