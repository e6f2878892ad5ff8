"""DynRefer on VG-COCO and RefCOCOg from three views by chance, the region itself not always among them.

Table 7, row 16. Published values: OVAD mAP 23.0; COCO accuracy 74.0; VG-COCO mAP 44.4; RefCOCOg METEOR
17.2, CIDEr 110.0.

The row is listed with the image prior, which compares with the tight view that this row does not have; here
views are drawn by chance in evaluation. Trained on VG-COCO and RefCOCOg, as all ablations; everything else
as in the released recipe of `dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/no_tight_view.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=3)
train_pipeline[-1].update(views=3, selection=dict(type="random", tight_first=False))
test_pipeline[-1].update(views=3, selection=dict(type="random", tight_first=False))
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
