"""HiVG-B as released, and its schedule: stage 0, then HiLoRA in three stages.

The published sizes of CLIP ViT-B/16 at 224 x 224. Text levels of the bridge differ between data sets; here
the last one (RefCOCO, Flickr30k), rows of other data sets say theirs.
"""

from refkit.backbones import CLIPBackbone, CLIPTokenizer, CrossModalBridge, GroundingEncoder, HiLoRA
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.engine import StagedTrainLoop
from refkit.heads import BoxHead, ContrastHead, MaskHead, RegionTextHead
from refkit.models import HiVG

model = dict(
    type=HiVG,
    # The bridge attends to padded words, so texts are not trimmed.
    data_preprocessor=dict(type=ReferringPreprocessor, tokenizer=dict(type=CLIPTokenizer), trim_text=False),
    backbone=dict(
        type=CLIPBackbone,
        size="ViT-B-16",
        weights="openai",
        visual_levels=[1, 4, 8, 12],
        pooled=True,
        bridge=dict(
            type=CrossModalBridge,
            blocks=[0, 3, 7, 11],
            text_levels=[12],
            weight_shape="full",
            published_batch_mixing=False,
        ),
    ),
    encoder=dict(
        type=GroundingEncoder, checkpointing=True, width=512, layers=6, heads=8, feedforward=2048, dropout=0.1
    ),
    heads=dict(
        box=dict(type=BoxHead, regression="l1"),
        region_text=dict(type=RegionTextHead, hidden=3072, decided_at="corner"),
        contrast=dict(type=ContrastHead),
        mask=dict(type=MaskHead, target="box"),
    ),
    adapters=dict(type=HiLoRA, preset="published"),
)
train_cfg = dict(
    type=StagedTrainLoop,
    val_interval=1,
    stages=[
        dict(name="warm-up", epochs=60, lr=2.5e-4, batch_size=80, model=dict(adapt=0)),
        dict(name="hilora-1", epochs=20, lr=1e-4, batch_size=60, start="best", model=dict(adapt=1)),
        dict(name="hilora-2", epochs=20, lr=5e-5, batch_size=60, start="best", model=dict(adapt=2)),
        dict(name="hilora-3", epochs=20, lr=2.5e-5, batch_size=40, start="best", model=dict(adapt=3)),
    ],
)
