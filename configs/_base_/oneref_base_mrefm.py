"""Mask Referring Modeling on OneRef-B as released, and its schedule.

Backbone and the layers that predict hidden patches and words start from the released in-domain BEiT-3;
projections and relation scores from random weights. The second stage goes on from the last weights.
"""

from refkit.backbones import VQKD, BEiT3Backbone, SentencePieceTokenizer
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.engine import StagedTrainLoop
from refkit.heads import MaskedImageHead, MaskedTextHead, SimilarityConstraintHead
from refkit.models import MRefM

model = dict(
    type=MRefM,
    preset="published",
    data_preprocessor=dict(
        type=ReferringPreprocessor,
        tokenizer=dict(type=SentencePieceTokenizer, model="downloads/beit3.spm", context_length=64),
        trim_text=True,
    ),
    backbone=dict(type=BEiT3Backbone, size="base", image_size=384, drop_path=0.1),
    heads=dict(
        constraint=dict(type=SimilarityConstraintHead, focal_weight=20.0, dice_weight=2.0),
        masked_image=dict(type=MaskedImageHead),
        masked_text=dict(type=MaskedTextHead, smoothing=0.1, drop_worst=0.2, drop_from=12000),
    ),
    visual_tokenizer=dict(type=VQKD, size="base", weights="downloads/vqkd.safetensors"),
)
load_from = "downloads/beit3_base.safetensors"
load_allow_missing = [
    "heads.*.relation.*",
    "backbone.language_head.*",
    "backbone.vision_head.*",
    "backbone.logit_scale",
]
train_cfg = dict(
    type=StagedTrainLoop,
    stages=[
        dict(name="warm-up", epochs=10, lr=2.5e-4, batch_size=64, model=dict(freeze=["backbone.beit3"])),
        dict(name="pre-training", epochs=100, lr=5e-5, batch_size=32, start="last", model=dict()),
    ],
)
