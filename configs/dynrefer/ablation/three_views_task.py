"""DynRefer on VG-COCO and RefCOCOg from three views drawn by chance, in evaluation chosen by the task.

Table 9, row 6. Published values: OVAD mAP 29.4; COCO accuracy 90.4; VG-COCO mAP 47.4; RefCOCOg METEOR 18.2,
CIDEr 118.3.

The third view of a task has no published value. Trained on VG-COCO and RefCOCOg, as all ablations;
everything else as in the released recipe of `dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/three_views_task.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

# Second views of figure 4; the third ones are refkit's choice, see tools/view_prior.py.
priors = dict(caption=[0.4, 0.1], densecap=[0.4, 0.1], attributes=[0.1, 0.4])
model["backbone"].update(views=3)
train_pipeline[-1].update(views=3, selection="random")
test_pipeline[-1].update(views=3, selection=dict(type="task_prior", task="caption", priors=priors))
train_dataloader["dataset"]["members"][0].update(pipeline=train_pipeline)
train_dataloader["dataset"]["members"][1].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
test_dataloader["dataset"].update(pipeline=test_pipeline)
