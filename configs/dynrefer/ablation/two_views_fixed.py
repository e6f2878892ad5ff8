"""DynRefer on VG-COCO and RefCOCOg from two views, always the same.

Table 7, row 5. Published values: OVAD mAP 25.4; COCO accuracy 85.4; VG-COCO mAP 45.8; RefCOCOg METEOR 17.9,
CIDEr 114.2.

Which second view is not known to us: here it is the whole picture. Trained on VG-COCO and RefCOCOg, as all
ablations; everything else as in the released recipe of `dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/two_views_fixed.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=2)
train_pipeline[-1].update(views=2, selection=[0.0, 1.0])
test_pipeline[-1].update(views=2, selection=[0.0, 1.0])
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
