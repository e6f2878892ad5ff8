"""The small twin of DynRefer for the table on views: the same model, fewer objects, shorter training.

Not a row of any paper. Two views, drawn in training and chosen by the picture in evaluation; the rows of
`configs/refshapes/ablation/dynrefer.py` have other numbers of views and other choices.

    refkit train configs/refshapes/dynrefer_ablation.py
"""

from mmengine.config import read_base

with read_base():
    from .dynrefer_tiny import *

from mmengine.optim import CosineAnnealingLR

few_objects = dict(min_objects=3, max_objects=5, draw_ahead=True)
train_dataloader.update(batch_size=32, num_workers=0, persistent_workers=False)
train_dataloader["dataset"].update(scenes=3000, keep=3000, **few_objects)
train_dataloader["sampler"].update(samples=9600)
test_pipeline[0].update(selection="image_prior")
val_dataloader.update(num_workers=0, persistent_workers=False)
val_dataloader["dataset"].update(pipeline=test_pipeline, **few_objects)
test_dataloader.update(num_workers=0)
test_dataloader["dataset"].update(pipeline=test_pipeline, **few_objects)
train_cfg.update(max_epochs=5, val_interval=5)
# In steps of iterations; a budget changes the length of epochs.
param_scheduler = [
    dict(type=CosineAnnealingLR, by_epoch=True, convert_to_iter_based=True, T_max=5, begin=0, end=5)
]
default_hooks["checkpoint"].update(interval=5, save_best=None)
