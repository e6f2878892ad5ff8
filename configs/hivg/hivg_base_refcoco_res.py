"""HiVG-B on RefCOCO with masks: one model that answers with a box and a mask (REC and RES).

No table of the paper has this row: no published value. The mask branch of the released code, trained on the
annotated masks instead of filled boxes (`--use_seg_mask` there, which none of the released scripts uses);
everything else as in `hivg_base_refcoco`. Boxes are scored as REC, masks as RES (mean IoU and overall IoU).

    refkit data import refer downloads/refcoco --out data/records
    refkit train configs/hivg/hivg_base_refcoco_res.py
"""

from mmengine.config import read_base

with read_base():
    from .hivg_base_refcoco import *

from refkit.engine import ProtocolMetric

model["heads"]["mask"].update(target="mask")
train_dataloader["dataset"].update(with_masks=True)
val_evaluator = dict(type=ProtocolMetric, protocol=["rec/1", "res/1"])
test_evaluator = val_evaluator
