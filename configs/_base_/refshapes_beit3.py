"""The small twin of BEiT-3 on RefShapes: sizes. Pictures, words and batches are those of the other twins."""

from mmengine.config import read_base

with read_base():
    from .refshapes_twin import *

from refkit.backbones import BEiT3Backbone

backbone = dict(
    type=BEiT3Backbone,
    size=dict(
        width=128,
        layers=4,
        heads=4,
        image_size=96,
        patch_size=12,
        vocab_size=59,
        context_length=20,
        text_positions=22,
        position_std=0.1,
        linear_std=0.08,
    ),
    drop_path=0.0,
    pad_id=0,
)
