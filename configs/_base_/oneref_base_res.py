"""OneRef-B for masks as released, and its schedule: ten epochs with BEiT-3 frozen, then all of it.

Boxes are not learned, and nothing constrains the similarity map: the released models of masks carry a box
head that was never trained.
"""

from mmengine.config import read_base

with read_base():
    from .oneref_base_rec import *
    from .oneref_mask_head import *

from refkit.engine import ProtocolMetric

model["heads"] = dict(mask=mask_head)
train_cfg["stages"][0]["model"].pop("without")
val_evaluator = dict(type=ProtocolMetric, protocol="res/1")
test_evaluator = val_evaluator
