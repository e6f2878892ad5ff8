"""HiVG-B on RefCOCOg (umd), trained on it alone.

Table 1, row 11 (HiVG, CLIP-B). Published Acc@0.5: val 78.29, test 78.79.
The full model of the ablations too: Table 3, row 4 (bridge and HiLoRA); Table 4, row 6 (weights 77 x 512);
Table 5, row 3 (three stages, rank 32); Table 9, row 2 (RTCC and CLC); Table 10, row 5 (text levels 1 to
12).

Recipe of the released code, where it differs from the paper: L1, not smooth L1; a mask loss on filled
boxes; bridges in blocks 1, 4, 8, 12 (paper: 4, 8, 12) that read text levels 1 to 12; one set of LoRA
matrices on q, k, v, out and in the bridges, opened in blocks 1-5, 1-8, 1-12 and never merged (paper: fresh
ones on thirds, merged); 60 epochs before HiLoRA (paper: 50). Differs from the released code: bridges keep
the samples of a batch apart (published_batch_mixing=False); crops that would leave a box without area are
drawn again.
Starts from CLIP; the authors' own start, CLIP adapted to detection on COCO, is optional:
model.backbone.weights=FILE, after `refkit zoo import ... --layout hivg_clip`.
Batch per GPU 80 / 60 / 60 / 40, on 7 GPUs.

    refkit data import refer downloads/refcocog --out data/records --split-by umd
    refkit train configs/hivg/hivg_base_refcocog.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.hivg_refcocog import *
    from .._base_.hivg_base import *

model["backbone"]["bridge"].update(text_levels=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
