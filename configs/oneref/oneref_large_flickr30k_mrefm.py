"""OneRef-L on Flickr30k Entities, from Mask Referring Modeling.

Weights of this were released, but no table has the row: no published value.
A phrase with several boxes means the box around all of them, in training and in the published number.

Recipe of the released scripts: as `oneref_large_flickr30k`, but from the pre-training for boxes instead of
BEiT-3. Differs from the released code: crops that would leave a box without area are drawn again; the
constraint sees the box cut to whole pixels.
Starts from the released pre-training, imported as below, or from one's own (`mrefm_large_rec`).
Batch per GPU 64, then 8, on 8 GPUs.

    refkit data import flickr30k downloads/flickr30k_entities --out data/records --boxes merged
    refkit zoo import downloads/rec_mrefm_pretrain_large_patch16_384.pth --layout oneref \
        --tokenizer downloads/beit3.spm --out downloads/mrefm_large_rec.safetensors
    refkit train configs/oneref/oneref_large_flickr30k_mrefm.py
"""

from mmengine.config import read_base

with read_base():
    from .oneref_large_flickr30k import *

model["backbone"].update(weights="downloads/mrefm_large_rec.safetensors")
