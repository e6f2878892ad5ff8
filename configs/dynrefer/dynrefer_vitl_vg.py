"""DynRefer with CLIP ViT-L and FlanT5-XL, trained on Visual Genome 1.2.

Table 2, row 11, Table 4, row 9. Published values: OVAD mAP 28.2, head 50.9, medium 34.5, tail 12.5; COCO
mAP 85.0, accuracy 89.4.

Recipe of the released settings for EVA ViT-g; weights of this model were not released. Batch per GPU 64 on
8 GPUs.

    refkit zoo import downloads/blip2_pretrained_flant5xl_vitL.pth --layout blip2 \
        --vision downloads/clip_vit_L.pth --language-model downloads/flan-t5-xl \
        --text downloads/clip-vit-large-patch14 --out downloads/dynrefer_start_vitl.safetensors
    refkit data import vg data/vg --version 1.2 --out data/records \
        --tagger auto --tag-list downloads/ram_tag_list.txt
    refkit data import vg data/vg --version 1.2 --task densecap --out data/records/densecap
    refkit train configs/dynrefer/dynrefer_vitl_vg.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.dynrefer_vg import *
    from .._base_.dynrefer_vitl import *
