"""DynRefer with CLIP ViT-L and Vicuna-7B, fine-tuned on RefCOCOg captions.

Table 6, row 3. Published values: RefCOCOg METEOR 17.4, CIDEr 110.7.

Recipe of the released settings: three epochs from what `dynrefer_vicuna_vg` left, copied to `load_from`.
Batch per GPU 64 on 8 GPUs.

    refkit data import mdetr downloads/finetune_refcocog_train.json --name refcocog.umd.train --task caption \
        --tagger auto --tag-list downloads/ram_tag_list.txt --out data/records/captions
    refkit train configs/dynrefer/dynrefer_vicuna_refcocog.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.dynrefer_refcocog import *
    from .._base_.dynrefer_vitl import *
    from .._base_.dynrefer_vicuna import *

model["heads"]["caption"] = vicuna_head  # update would merge the two
model["heads"]["tag"].update(threshold=0.76)
load_from = "downloads/dynrefer_vicuna_vg.safetensors"
load_allow_missing = []
