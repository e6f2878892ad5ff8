"""DynRefer with CLIP ViT-L and FlanT5-XL, fine-tuned on RefCOCOg captions.

Table 6, row 4. Published values: RefCOCOg METEOR 17.3, CIDEr 109.7.

Recipe of the released settings for EVA ViT-g: three epochs from what `dynrefer_vitl_vg` left, copied to
`load_from`. Whether the row was trained so, or on VG-COCO and RefCOCOg like the ablations, is not stated.
Batch per GPU 64 on 8 GPUs.

    refkit data import mdetr downloads/finetune_refcocog_train.json --name refcocog.umd.train --task caption \
        --tagger auto --tag-list downloads/ram_tag_list.txt --out data/records/captions
    refkit train configs/dynrefer/dynrefer_vitl_refcocog.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.dynrefer_refcocog import *
    from .._base_.dynrefer_vitl import *

model["heads"]["tag"].update(threshold=0.76)
load_from = "downloads/dynrefer_vitl_vg.safetensors"
load_allow_missing = []
