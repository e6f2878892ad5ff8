"""OneRef-L for boxes as released: ``oneref_base_rec.py`` with 24 blocks, and smaller batches."""

from mmengine.config import read_base

with read_base():
    from .oneref_base_rec import *

model["backbone"].update(size="large", weights="downloads/beit3_large.safetensors")
train_cfg["stages"][1].update(batch_size=8)
