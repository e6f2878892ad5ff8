"""DynRefer on VG-COCO and RefCOCOg without the language model.

Table 7, row 12. Published values: OVAD mAP 27.6; COCO accuracy 89.0.

Trained on VG-COCO and RefCOCOg, as all ablations; everything else as in the released recipe of
`dynrefer_eva_vg`. Batch per GPU 64 on 8 GPUs.

    refkit train configs/dynrefer/ablation/no_caption_head.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model.update(without=["heads.caption"], tasks=["attributes", "categories"])
# No captions to validate: attributes of OVAD at the end.
val_dataloader = None
val_cfg = None
val_evaluator = None
test_dataloader["dataset"].update(records="records/ovad.box.test.jsonl")
test_evaluator = dict(type=ProtocolMetric, protocol="attributes/box")
default_hooks["checkpoint"].update(save_best=None)
