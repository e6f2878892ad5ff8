"""What Mask Referring Modeling is worth before fine-tuning, on RefShapes with the small twin of OneRef.

OneRef's tables of ablations in small; published values are those of full-size models on RefCOCO+ and are not
to be compared. The small BEiT-3's branches have not met before, so a warm-up (fine-tuning of boxes and masks)
comes first; one for each seed is shared by all rows. Every row then trains for the same number of iterations
in all: half of them hide patches and words (or fine-tune already, in the first row), the other half
fine-tune. Steps alternate between patches and words in all rows that hide, the paper's too: with both in one
step, its budget would be doubled.

    python tools/ablate.py configs/refshapes/ablation/oneref.py --jobs 2
"""

title = "OneRef's pre-training on RefShapes (96×96 pictures, 3 to 5 objects)"
config = "refshapes/oneref_ablation"
metrics = [
    dict(key="rec/acc50", label="Acc@0.5", percent=True),
    dict(key="res/miou", label="mask mIoU", percent=True),
]
seeds = 3
budget = dict(iterations=400)
start = "warm-up"
starts = [
    dict(
        name="warm-up",
        label="warm-up",
        times=2,
        options={
            "train_dataloader.dataset.scenes": 8000,
            "train_dataloader.dataset.keep": 8000,
            "train_cfg.stages": [
                dict(
                    name="warm-up",
                    epochs=10,
                    lr=2e-3,
                    model=dict(without=["heads.masked_image", "heads.masked_text"]),
                )
            ],
        },
    )
]

_hidden = {"train_cfg.stages.0.model.without": ["heads.box", "heads.mask"]}
_plain = {
    "train_cfg.stages.0.model.without": ["heads.box", "heads.mask", "heads.constraint"],
    "train_dataloader.dataset.pipeline.1.rule": "uniform",
    "train_dataloader.dataset.pipeline.2.rule": "uniform",
}
_paper = {
    **_hidden,
    "model.preset": "paper",
    "train_dataloader.dataset.pipeline.1.rule": "paper",
    "train_dataloader.dataset.pipeline.2.rule": "paper",
}
rows = [
    dict(name="none", label="no pre-training"),
    dict(name="plain", label="plain masked modeling", options=_plain),
    dict(name="mrefm-published", label="MRefM, as released", options=_hidden),
    dict(name="mrefm-paper", label="MRefM, as in the paper", options=_paper),
]
