"""DynRefer on VG-COCO and RefCOCOg from three views drawn by chance, in evaluation too.

Table 7, row 9; Table 8, row 2; Table 9, row 4. Published values: OVAD mAP 27.3; COCO accuracy 88.9;
VG-COCO mAP 47.3; RefCOCOg METEOR 18.2, CIDEr 117.7.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/three_views_random.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=3)
train_pipeline[-1].update(views=3, selection="random")
test_pipeline[-1].update(views=3, selection="random")
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
