"""OneRef-L for masks as released: ``oneref_base_res.py`` with 24 blocks, and smaller batches."""

from mmengine.config import read_base

with read_base():
    from .oneref_base_res import *

model["backbone"].update(size="large", weights="downloads/beit3_large.safetensors")
train_cfg["stages"][1].update(batch_size=8)
