"""DynRefer with EVA ViT-g and FlanT5-XL on Visual Genome 1.2, every switch as released.

For the published digits of `dynrefer_eva_vg`; no published value of its own. As released are here: dropout
of the frozen language model in training, recognition in bfloat16 (few steps of scores, many ties, thresholds
rounded like the scores), and language model, tower, views, search, control words, prompts and schedule as in
`dynrefer_eva_vg` itself. Not as released: training in bfloat16 throughout, and control words in the order of
the tag list, where the released code has another order in every run. Batch per GPU 64 on 8 GPUs.

    refkit zoo import downloads/vg1.2_5e.pth --layout dynrefer --vision downloads/eva_vit_g.pth \
        --blip2 downloads/blip2_pretrained_flant5xl.pth --language-model downloads/flan-t5-xl \
        --text downloads/eva_clip_psz14.pt --tags downloads/ram_tag_list.txt \
        --out downloads/dynrefer_eva_vg.safetensors
    refkit test configs/dynrefer/dynrefer_eva_vg_published.py downloads/dynrefer_eva_vg.safetensors
    refkit train configs/dynrefer/dynrefer_eva_vg_published.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.dynrefer_vg import *
    from .._base_.dynrefer_eva import *

model.update(lively=["heads.caption.language_model"])
model["heads"]["tag"].update(precision="bfloat16")
model["heads"]["contrast"].update(precision="bfloat16")
