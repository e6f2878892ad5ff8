"""DynRefer on VG-COCO and RefCOCOg from three views drawn by chance, in evaluation chosen by the picture.

Table 7, row 10; Table 8, row 4; Table 9, row 5. Published values: OVAD mAP 28.7; COCO accuracy 90.3;
VG-COCO mAP 47.4; RefCOCOg METEOR 18.2, CIDEr 118.6.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/three_views_image.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=3)
train_pipeline[-1].update(views=3, selection="random")
test_pipeline[-1].update(views=3, selection="image_prior")
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
