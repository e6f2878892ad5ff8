"""Mask Referring Modeling on OneRef-L as released: ``oneref_base_mrefm.py`` with 24 blocks."""

from mmengine.config import read_base

with read_base():
    from .oneref_base_mrefm import *

model["backbone"].update(size="large")
load_from = "downloads/beit3_large.safetensors"
train_cfg["stages"][1].update(lr=3e-5, batch_size=8)
