"""OneRef-B for boxes as released, and its schedule: ten epochs with BEiT-3 frozen, then all of it.

BEiT-3 starts from the released in-domain weights (position table resized to 24 x 24 patches), the projections
and the box head from random ones; drop path 0.1 goes on while BEiT-3 is frozen.
"""

from refkit.backbones import BEiT3Backbone, SentencePieceTokenizer
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.engine import RECMetric, StagedTrainLoop
from refkit.heads import SimilarityBoxHead, SimilarityConstraintHead
from refkit.models import OneRef

tokenizer = dict(type=SentencePieceTokenizer, model="downloads/beit3.spm", context_length=64)
model = dict(
    type=OneRef,
    data_preprocessor=dict(type=ReferringPreprocessor, tokenizer=tokenizer, trim_text=True),
    backbone=dict(
        type=BEiT3Backbone,
        size="base",
        image_size=384,
        drop_path=0.1,
        weights="downloads/beit3_base.safetensors",
    ),
    heads=dict(
        box=dict(type=SimilarityBoxHead, box_weight=1.0, giou_weight=1.0),
        constraint=dict(type=SimilarityConstraintHead, focal_weight=20.0, dice_weight=2.0),
    ),
)
train_cfg = dict(
    type=StagedTrainLoop,
    val_interval=1,
    stages=[
        dict(
            name="warm-up",
            epochs=10,
            lr=2.5e-4,
            batch_size=64,
            model=dict(freeze=["backbone.beit3"], without=["heads.constraint"]),
        ),
        dict(name="fine-tuning", epochs=20, lr=3e-5, batch_size=24, start="best", model=dict()),
    ],
)
val_evaluator = dict(type=RECMetric)
test_evaluator = val_evaluator
