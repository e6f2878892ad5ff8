"""How many views, and which: DynRefer's tables 7 and 9 in small, on RefShapes with the small twin.

Published values are those of full-size models on photographs and are not to be compared. How views are chosen
in evaluation does not touch training, so one training per seed is shared by all rows with the same views; a
short one of each row's own, at a quarter of the rate, ends it. One view is the object itself; two fixed views
are the object and the whole picture. By task means the published second view of captions, 0.4; the third,
0.8, is refkit's choice.

    python tools/ablate.py configs/refshapes/ablation/dynrefer.py --jobs 2
"""

title = "DynRefer's views on RefShapes (views of 72×72, 3 to 5 objects)"
config = "refshapes/dynrefer_ablation"
metrics = [
    dict(key="scene_caption/all", label="captions", percent=True),
    dict(key="attributes/map", label="attributes mAP", percent=True),
    dict(key="recognition/top1", label="classes", percent=True),
]
seeds = 3
budget = dict(iterations=50)

_train = "train_dataloader.dataset.pipeline.1"
_val = "val_dataloader.dataset.pipeline.0"
_one = {
    "model.backbone.views": 1,
    f"{_train}.views": 1,
    f"{_val}.views": 1,
    f"{_train}.selection": [0.0],
    f"{_val}.selection": [0.0],
}
_fixed = {f"{_train}.selection": [0.0, 1.0], f"{_val}.selection": [0.0, 1.0]}
_three = {"model.backbone.views": 3, f"{_train}.views": 3, f"{_val}.views": 3}
starts = [
    dict(name="train-one", label="training with one view", times=9, options=_one),
    dict(name="train-fixed", label="training with two fixed views", times=9, options=_fixed),
    dict(name="train-two", label="training with two drawn views", times=9),
    dict(name="train-three", label="training with three drawn views", times=9, options=_three),
]

_short = {"optim_wrapper.optimizer.lr": 5e-4}
_random = {**_short, f"{_val}.selection": "random"}
_task = {
    **_short,
    f"{_val}.selection": dict(type="task_prior", task="caption", priors=dict(caption=[0.4, 0.8])),
}
rows = [
    dict(name="one", label="1 view", start="train-one", options={**_one, **_short}),
    dict(name="two-fixed", label="2 fixed", start="train-fixed", options={**_fixed, **_short}),
    dict(name="two-random", label="2 drawn, random", start="train-two", options=_random),
    dict(name="two-task", label="2 drawn, by task", start="train-two", options=_task),
    dict(name="two-image", label="2 drawn, by picture", start="train-two", options=_short),
    dict(name="three-random", label="3 drawn, random", start="train-three", options={**_three, **_random}),
    dict(name="three-task", label="3 drawn, by task", start="train-three", options={**_three, **_task}),
    dict(name="three-image", label="3 drawn, by picture", start="train-three", options={**_three, **_short}),
]
