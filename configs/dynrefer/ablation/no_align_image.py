"""DynRefer on VG-COCO and RefCOCOg from three views not aligned, chosen by the picture in evaluation.

Table 8, row 3. Published values: OVAD mAP 28.1; COCO accuracy 90.5; VG-COCO mAP 46.6; RefCOCOg METEOR 17.7,
CIDEr 113.5.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/no_align_image.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=3)
train_pipeline[-1].update(views=3, selection="random")
test_pipeline[-1].update(views=3, selection="image_prior")
model["backbone"].update(align=False)
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
