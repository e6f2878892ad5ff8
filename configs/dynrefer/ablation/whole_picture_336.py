"""DynRefer on VG-COCO and RefCOCOg from one view: the whole picture at 336 pixels and RoIAlign.

Table 7, row 3. Published values: OVAD mAP 21.7; COCO accuracy 80.1; VG-COCO mAP 41.5; RefCOCOg METEOR 17.4,
CIDEr 111.3.

The start is imported with --image-size 336. Trained on VG-COCO and RefCOCOg, as all ablations; everything
else as in the released recipe of `dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/whole_picture_336.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model["backbone"].update(views=1)
train_pipeline[-1].update(views=1, selection=[1.0])
test_pipeline[-1].update(views=1, selection=[1.0])
train_pipeline[-1].update(side=336)
test_pipeline[-1].update(side=336)
model["backbone"]["tower"].update(image_size=336)
load_from = "downloads/dynrefer_start_eva_336.safetensors"
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
