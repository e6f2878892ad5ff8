"""OneRef-L on ReferIt, from Mask Referring Modeling.

Weights of this were released, but no table has the row: no published value.
The published test list has 60,103 of the 60,105 expressions.

Recipe of the released scripts: as `oneref_large_referit`, but from the pre-training for boxes instead of
BEiT-3. Differs from the released code: crops that would leave a box without area are drawn again; the
constraint sees the box cut to whole pixels.
Starts from the released pre-training, imported as below, or from one's own (`mrefm_large_rec`).
Batch per GPU 64, then 8, on 8 GPUs.

    refkit data import referit downloads/referit --out data/records
    refkit zoo import downloads/rec_mrefm_pretrain_large_patch16_384.pth --layout oneref \
        --tokenizer downloads/beit3.spm --out downloads/mrefm_large_rec.safetensors
    refkit train configs/oneref/oneref_large_referit_mrefm.py
"""

from mmengine.config import read_base

with read_base():
    from .oneref_large_referit import *

model["backbone"].update(weights="downloads/mrefm_large_rec.safetensors")
