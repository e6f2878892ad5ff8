"""Which part of HiVG helps how much, on RefShapes with the smaller twin.

HiVG's tables of ablations in small; published values are those of full-size models on RefCOCOg and are not
to be compared. As for HiVG-L, a first training with frozen CLIP and neither bridge nor contrast comes before
everything; one for each seed is shared by all rows, which then train equally long. The twin has 4 vision
blocks and 2 text blocks: bridges sit in blocks 1 and 3 and read both text levels; the released groups 0-4,
0-7, 0-11 of 12 blocks become 0-1, 0-2, 0-3 of 4, the paper's thirds the first 1, 3, 4 blocks; rank 8 instead
of 32 with the same scale of 0.5.

    python tools/ablate.py configs/refshapes/ablation/hivg.py --jobs 2
"""

from refkit.backbones import CrossModalBridge, HiLoRA

title = "HiVG's parts on RefShapes (72×72 pictures, 3 to 5 objects)"
config = "refshapes/hivg_ablation"
metrics = [
    dict(key="rec/acc50", label="Acc@0.5", percent=True),
    dict(key="rec/miou", label="mIoU", percent=True),
]
seeds = 3
budget = dict(iterations=480)
start = "warm-up"
starts = [
    dict(
        name="warm-up",
        label="warm-up with frozen CLIP",
        times=5,
        options={
            "train_dataloader.dataset.scenes": 8000,
            "train_dataloader.dataset.keep": 8000,
            "train_cfg.stages": [
                dict(name="warm-up", epochs=10, lr=1e-3, model=dict(adapt=0, without=["heads.contrast"]))
            ],
        },
    )
]

_vision = "backbone.clip.vision_model.encoder.layers"
_small = dict(type=HiLoRA, rank=8, alpha=4, dropout=0.0)
_stages = {
    "train_cfg.stages.1.model.adapt": 1,
    "train_cfg.stages.2.model.adapt": 2,
    "train_cfg.stages.3.model.adapt": 3,
}
_macb = {
    "model.backbone.bridge": dict(type=CrossModalBridge, blocks=[1, 3], text_levels=[1, 2]),
    "model.data_preprocessor.trim_text": False,  # bridges look at padding too
    "load_allow_missing": ["backbone.bridges.*"],
}
_vanilla = {"model.adapters": dict(_small, groups={_vision: [[0, 1, 2, 3]] * 3}), **_stages}
_published = {
    "model.adapters": dict(_small, groups={_vision: [[0, 1], [0, 1, 2], [0, 1, 2, 3]]}),
    **_stages,
}
_paper = {"model.adapters": dict(_small, preset="paper", groups={_vision: 3}), **_stages}
_no_clc = {
    "train_cfg.stages.0.model.without": ["heads.contrast"],
    "train_cfg.stages.1.model.without": ["heads.contrast"],
    "train_cfg.stages.2.model.without": ["heads.contrast"],
    "train_cfg.stages.3.model.without": ["heads.contrast"],
}
_no_rtcc = {
    "train_cfg.stages.0.model.without": ["heads.region_text"],
    "train_cfg.stages.1.model.without": ["heads.region_text"],
    "train_cfg.stages.2.model.without": ["heads.region_text"],
    "train_cfg.stages.3.model.without": ["heads.region_text"],
}
rows = [
    dict(name="plain", label="plain"),
    dict(name="macb", label="+ MACB", options=_macb),
    dict(name="vanilla-lora", label="+ LoRA, all blocks at once", options=_vanilla),
    dict(name="hilora-published", label="+ HiLoRA, as released", options=_published),
    dict(name="hilora-paper", label="+ HiLoRA, as in the paper", options=_paper),
    dict(name="both", label="+ MACB + HiLoRA", options={**_macb, **_published}),
    dict(name="both-no-clc", label="+ MACB + HiLoRA, no CLC", options={**_macb, **_published, **_no_clc}),
    dict(name="both-no-rtcc", label="+ MACB + HiLoRA, no RTCC", options={**_macb, **_published, **_no_rtcc}),
]
