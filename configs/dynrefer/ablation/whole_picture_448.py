"""DynRefer on VG-COCO and RefCOCOg from one view: the whole picture at 448 pixels and RoIAlign.

Table 7, row 4. Published values: OVAD mAP 22.7; COCO accuracy 81.2; VG-COCO mAP 41.8; RefCOCOg METEOR 17.3,
CIDEr 113.0.

The start is imported with --image-size 448. Trained on VG-COCO and RefCOCOg, as all ablations; everything
else as in the released recipe of `dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/whole_picture_448.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=1)
train_pipeline[-1].update(views=1, selection=[1.0])
test_pipeline[-1].update(views=1, selection=[1.0])
train_pipeline[-1].update(side=448)
test_pipeline[-1].update(side=448)
model["backbone"]["tower"].update(image_size=448)
load_from = "downloads/dynrefer_start_eva_448.safetensors"
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
