"""DynRefer with EVA ViT-g and FlanT5-XL, trained on Visual Genome 1.2: the model for all tasks.

Table 1, row 11 (Visual Genome), Table 2, row 12, Table 3, rows 14 (boxes of GRiT) and 21 (given boxes),
Table 4, row 10. Published values: VG METEOR 21.2, CIDEr 190.9; OVAD mAP 29.2, head 49.9, medium 35.7, tail
14.0; given boxes, mAP VG 1.0 47.2, VG 1.2 47.4, VG-COCO 47.6; GRiT's boxes, mAP VG 1.0 19.1, VG 1.2 19.5,
VG-COCO 19.4; COCO mAP 89.2, accuracy 91.8. The authors' documentation of the released weights has 47.6 for
VG 1.2 and CIDEr 190.5.

Recipe of the released settings: five epochs, three views. They name a warm-up of 5000 steps, which their
code does not make, and train on Visual Genome alone where the paper says Visual Genome and RefCOCOg.
Captions of Visual Genome are scored with threshold 0.8 for tags. Batch per GPU 64 on 8 GPUs.

    refkit zoo import downloads/blip2_pretrained_flant5xl.pth --layout blip2 \
        --vision downloads/eva_vit_g.pth --language-model downloads/flan-t5-xl \
        --text downloads/eva_clip_psz14.pt --out downloads/dynrefer_start_eva.safetensors
    refkit data import vg data/vg --version 1.2 --out data/records \
        --tagger auto --tag-list downloads/ram_tag_list.txt
    refkit data import vg data/vg --version 1.2 --task densecap --out data/records/densecap
    refkit train configs/dynrefer/dynrefer_eva_vg.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.dynrefer_vg import *
    from .._base_.dynrefer_eva import *
