"""OneRef-B for boxes and masks at once: ``oneref_base_rec.py`` with the mask head beside the box head."""

from mmengine.config import read_base

with read_base():
    from .oneref_base_rec import *
    from .oneref_mask_head import *

from refkit.engine import ProtocolMetric

model["heads"].update(mask=mask_head)
val_evaluator = dict(type=ProtocolMetric, protocol=["rec/1", "res/1"])
test_evaluator = val_evaluator
