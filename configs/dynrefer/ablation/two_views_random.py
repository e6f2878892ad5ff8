"""DynRefer on VG-COCO and RefCOCOg from two views drawn by chance, in evaluation too.

Table 7, row 6; Table 9, row 1. Published values: OVAD mAP 26.1; COCO accuracy 87.8; VG-COCO mAP 46.6;
RefCOCOg METEOR 17.9, CIDEr 114.4.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/two_views_random.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=2)
train_pipeline[-1].update(views=2, selection="random")
test_pipeline[-1].update(views=2, selection="random")
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
