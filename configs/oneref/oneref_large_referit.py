"""OneRef-L on ReferIt, trained on it alone.

Table 1, row 12 (OneRef-L, BEiT3-L). Published Acc@0.5: test 81.11.
The published test list has 60,103 of the 60,105 expressions.


Recipe of the released scripts, where it says more or other than the paper: starts from BEiT-3, not from
Mask Referring Modeling, which the authors found to gain little here; the sentence is the first text token
(paper: e_SEP), patches are weighted by a softmax of cosines without temperature, their mean goes through
one linear map (paper: MLP); box-mask constraint focal 20 and dice 2, L1 and GIoU 1 (paper: not stated), the
constraint in the second stage only. Differs from the released code: crops that would leave a box without
area are drawn again; the constraint sees the box cut to whole pixels.
Starts from the released BEiT-3 (large, in-domain), imported as below; beit3.spm stands beside it.
Batch per GPU 64, then 8, on 8 GPUs.

    refkit data import referit downloads/referit --out data/records
    refkit zoo import downloads/beit3_large_indomain_patch16_224.pth --layout beit3 --image-size 384 \
        --out downloads/beit3_large.safetensors
    refkit train configs/oneref/oneref_large_referit.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.oneref_referit import *
    from .._base_.oneref_large_rec import *
