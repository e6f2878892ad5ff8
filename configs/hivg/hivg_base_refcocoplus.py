"""HiVG-B on RefCOCO+, trained on it alone.

Table 1, row 11 (HiVG, CLIP-B). Published Acc@0.5: val 78.06, testA 84.81, testB 68.11.
The table is the one of the authors' README; the paper's own text has testA 83.81.

Recipe of the released code, where it differs from the paper: L1, not smooth L1; a mask loss on filled
boxes; bridges in blocks 1, 4, 8, 12 (paper: 4, 8, 12) that read text levels 6 and 12 (paper: 1 to 12); one
set of LoRA matrices on q, k, v, out and in the bridges, opened in blocks 1-5, 1-8, 1-12 and never merged
(paper: fresh ones on thirds, merged); 60 epochs before HiLoRA (paper: 50). Differs from the released code:
bridges keep the samples of a batch apart (published_batch_mixing=False); crops that would leave a box
without area are drawn again.
Starts from CLIP; the authors' own start, CLIP adapted to detection on COCO, is optional:
model.backbone.weights=FILE, after `refkit zoo import ... --layout hivg_clip`.
Batch per GPU 80 / 60 / 60 / 40, on 7 GPUs.

    refkit data import refer downloads/refcoco+ --out data/records
    refkit train configs/hivg/hivg_base_refcocoplus.py
    refkit test configs/hivg/hivg_base_refcocoplus.py WEIGHTS \
        --cfg-options test_dataloader.dataset.records=records/refcocoplus.unc.testB.jsonl
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_refcocoplus import *
    from .._base_.hivg_base import *

model["backbone"]["bridge"].update(text_levels=[6, 12])
