"""The small twin of HiVG on RefShapes, in stages: what the quick start trains. Ten minutes on two CPU cores.

Not a row of any paper. The model of ``hivg_tiny_long.py`` with HiVG's stages: a warm-up, which here trains
the small CLIP too, and three stages of HiLoRA. No bridge: within this budget it cost more time than it gave.
Batches hold the five sentences of a picture side by side, so that its pass through CLIP is shared.

    refkit train configs/refshapes/hivg_tiny.py
"""

from mmengine.config import read_base

with read_base():
    from .hivg_tiny_long import *

from mmengine.optim import CosineAnnealingLR, LinearLR

from refkit.backbones import HiLoRA
from refkit.engine import StagedTrainLoop

model.update(
    adapters=dict(
        type=HiLoRA,
        groups={"backbone.clip.vision_model.encoder.layers": [[0, 1], [0, 1, 2], [0, 1, 2, 3]]},
        targets=["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"],
        rank=16,
        alpha=16,
        dropout=0.0,
    )
)
collate_fn.update(share=True)
train_dataloader.update(batch_size=50, collate_fn=collate_fn)
train_dataloader["dataset"].update(scenes=7680, keep=7680)
train_dataloader["sampler"].update(samples=12800, together=5)
train_cfg = dict(
    type=StagedTrainLoop,
    val_interval=3,
    stages=[
        dict(
            name="warm-up",
            epochs=12,
            lr=1e-3,
            model=dict(adapt=0, thaw=["backbone.clip"]),
            param_scheduler=[
                dict(type=LinearLR, start_factor=0.05, by_epoch=False, end=60),
                dict(type=CosineAnnealingLR, convert_to_iter_based=True, eta_min_ratio=0.25),
            ],
        ),
        dict(name="hilora-1", epochs=1, lr=2.5e-4, model=dict(adapt=1)),
        dict(name="hilora-2", epochs=1, lr=1.25e-4, model=dict(adapt=2)),
        dict(name="hilora-3", epochs=1, lr=6e-5, model=dict(adapt=3)),
    ],
)
param_scheduler = [dict(type=CosineAnnealingLR, convert_to_iter_based=True, eta_min_ratio=0.5)]
