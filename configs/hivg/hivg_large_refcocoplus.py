"""HiVG-L on RefCOCO+, trained on it alone.

Table 1, row 12 (HiVG-L, CLIP-L). Published Acc@0.5: val 80.10, testA 86.77, testB 70.53.

Recipe of the released code, where it differs from the paper: L1, not smooth L1; a mask loss on filled
boxes; bridges in blocks 5, 11, 17, 23 (paper: 6, 12, 18, 24) that read text levels 6 and 12 (paper: 1 to
12); one set of LoRA matrices, opened in three stages up to block 12 of 24 and never merged (paper: four
stages, fresh ones on quarters, merged); 10 epochs without bridge and RTCC and 60 epochs before HiLoRA
(paper: 50). Differs from the released code: bridges keep the samples of a batch apart
(published_batch_mixing=False); crops that would leave a box without area are drawn again.
Starts from CLIP; the authors' own start, CLIP adapted to detection on COCO, is optional:
model.backbone.weights=FILE, after `refkit zoo import ... --layout hivg_clip`.
Batch per GPU 32 in every stage, on 7 GPUs.

    refkit data import refer downloads/refcoco+ --out data/records
    refkit train configs/hivg/hivg_large_refcocoplus.py
    refkit test configs/hivg/hivg_large_refcocoplus.py WEIGHTS \
        --cfg-options test_dataloader.dataset.records=records/refcocoplus.unc.testB.jsonl
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_refcocoplus import *
    from .._base_.hivg_large import *

model["backbone"]["bridge"].update(text_levels=[6, 12])
