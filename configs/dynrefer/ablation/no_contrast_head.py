"""DynRefer on VG-COCO and RefCOCOg without the contrast of regions and texts.

Table 7, row 13. Published values: VG-COCO mAP 47.0; RefCOCOg METEOR 18.1, CIDEr 114.2.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/no_contrast_head.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model.update(without=["heads.contrast"])
