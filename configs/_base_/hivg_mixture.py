"""The released recipe of HiVG on the mixture of five training sets, without evaluation pictures.

The published mixture joins the training sets of RefCOCO, RefCOCO+, RefCOCOg (umd), ReferIt and Flickr30k
and removes nothing, although RefCOCOg divides the pictures of RefCOCO differently: 57 to 61 % of the
evaluation expressions of the three sets are about pictures of the published mixture. Here all pictures of
``evaluates_on`` are left out of all members: of 28,158 COCO pictures 24,407 remain.
"""

from mmengine.config import read_base

with read_base():
    from .hivg_recipe import *

from refkit.data.mixture import MixtureDataset

train_dataloader["dataset"] = dict(
    type=MixtureDataset,
    members=[
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/refcoco.unc.train.jsonl"),
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/refcocoplus.unc.train.jsonl"),
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/refcocog.umd.train.jsonl"),
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/referit.berkeley.train.jsonl"),
        dict(
            type=ReferringDataset, pipeline=train_pipeline, records="records/flickr30k.entities.train.jsonl"
        ),
    ],
    exclude_evaluated=True,
    evaluates_on=[
        "records/refcoco.unc.val.jsonl",
        "records/refcoco.unc.testA.jsonl",
        "records/refcoco.unc.testB.jsonl",
        "records/refcocoplus.unc.val.jsonl",
        "records/refcocoplus.unc.testA.jsonl",
        "records/refcocoplus.unc.testB.jsonl",
        "records/refcocog.umd.val.jsonl",
        "records/refcocog.umd.test.jsonl",
        "records/referit.berkeley.val.jsonl",
        "records/referit.berkeley.test.jsonl",
        "records/flickr30k.entities.val.jsonl",
        "records/flickr30k.entities.test.jsonl",
    ],
)
# As in the released lists, the mixture is validated and tested on RefCOCOg.
val_dataloader["dataset"].update(records="records/refcocog.umd.val.jsonl")
test_dataloader["dataset"].update(records="records/refcocog.umd.test.jsonl")
