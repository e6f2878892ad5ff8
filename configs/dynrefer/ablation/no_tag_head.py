"""DynRefer on VG-COCO and RefCOCOg without tags: captions are led by no words that were found.

Table 7, row 14. Published values: OVAD mAP 27.0; COCO accuracy 90.3; VG-COCO mAP 44.8; RefCOCOg METEOR
16.7, CIDEr 118.4.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/no_tag_head.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model.update(without=["heads.tag"])
