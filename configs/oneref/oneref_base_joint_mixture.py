"""OneRef-B on the mixture of three training sets: boxes and masks from one model (REC and RES).

No table has this row, and no released model does both: no published value. All losses of
`oneref_base_mixture` and `oneref_base_mixture_res` at once, with the same coefficients; the constraint
begins with the second stage. Boxes are scored as REC, masks as RES; the best mean IoU is kept.

Evaluation pictures of the three sets are left out of every member, as in `oneref_base_mixture`.

Starts from the released pre-training for boxes, imported as below, or from one's own (`mrefm_base_rec`).
Batch per GPU 64, then 32, on 8 GPUs.

    refkit zoo import downloads/rec_mrefm_pretrain_base_patch16_384.pth --layout oneref \
        --tokenizer downloads/beit3.spm --out downloads/mrefm_base_rec.safetensors
    refkit train configs/oneref/oneref_base_joint_mixture.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.oneref_mixture_masks import *
    from .._base_.oneref_base_joint import *

model["backbone"].update(weights="downloads/mrefm_base_rec.safetensors")
train_cfg["stages"][1].update(batch_size=32)
