"""DynRefer on VG-COCO and RefCOCOg from three views that are not aligned, drawn by chance in evaluation too.

Table 7, row 18; Table 8, row 1. Published values: OVAD mAP 27.3; COCO accuracy 88.4; VG-COCO mAP 47.1;
RefCOCOg METEOR 17.9, CIDEr 113.6.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/no_align_random.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=3)
train_pipeline[-1].update(views=3, selection="random")
test_pipeline[-1].update(views=3, selection="random")
model["backbone"].update(align=False)
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
