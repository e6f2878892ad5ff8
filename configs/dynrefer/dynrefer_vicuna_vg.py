"""DynRefer with CLIP ViT-L and Vicuna-7B, trained on Visual Genome 1.2.

First step to Table 6, row 3; no published value of its own.

Recipe of the released settings. Their start is a private file; here it is the Q-Former of BLIP-2 with
ViT-L, and the map to Vicuna starts from random weights. The released class keeps the Q-Former's text
branch, trained and never read, which is left out; it has a memory vector and never adds it. It writes at
most 20 tokens. Batch per GPU 64 on 8 GPUs.

    refkit zoo import downloads/blip2_pretrained_flant5xl_vitL.pth --layout blip2 \
        --vision downloads/clip_vit_L.pth --language-model downloads/vicuna-7b-v1.5 \
        --text downloads/clip-vit-large-patch14 --out downloads/dynrefer_start_vicuna.safetensors
    refkit data import vg data/vg --version 1.2 --out data/records \
        --tagger auto --tag-list downloads/ram_tag_list.txt
    refkit data import vg data/vg --version 1.2 --task densecap --out data/records/densecap
    refkit train configs/dynrefer/dynrefer_vicuna_vg.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.dynrefer_vg import *
    from .._base_.dynrefer_vitl import *
    from .._base_.dynrefer_vicuna import *

model["heads"]["caption"] = vicuna_head  # update would merge the two
load_from = "downloads/dynrefer_start_vicuna.safetensors"
load_allow_missing = [
    "backbone.align.*",
    "backbone.fusion.*",
    "heads.tag.*",
    "heads.contrast.*",
    "heads.caption.projection.*",
]
