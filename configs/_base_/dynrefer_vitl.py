"""DynRefer with 21 blocks of CLIP ViT-L/14; texts are embedded by its own text tower before projection."""

from mmengine.config import read_base

with read_base():
    from .dynrefer_eva import *

from refkit.backbones import CLIPTower

text_width = 768
model["backbone"].update(tower=dict(type=CLIPTower, size="ViT-L-14", layers=21, image_size=224))
model["text_encoder"].update(size="ViT-L-14", projection=False)
model["heads"]["tag"].update(text_width=text_width)
model["heads"]["contrast"].update(text_width=text_width)
load_from = "downloads/dynrefer_start_vitl.safetensors"
