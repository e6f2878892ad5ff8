"""The released recipe of OneRef on the mixture of three training sets, without evaluation pictures.

The published mixture joins the training sets of RefCOCO, RefCOCO+ and RefCOCOg (umd), 321,327 expressions,
and removes nothing, although RefCOCOg divides the pictures differently: 57 to 61 % of the evaluation
expressions of the three sets are about pictures of it. Here all pictures of ``evaluates_on`` are left out of
all members; ``exclude_evaluated=False`` restores the union.
"""

from mmengine.config import read_base

with read_base():
    from .oneref_recipe import *

from refkit.data.mixture import MixtureDataset

train_dataloader["dataset"] = dict(
    type=MixtureDataset,
    members=[
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/refcoco.unc.train.jsonl"),
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/refcocoplus.unc.train.jsonl"),
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/refcocog.umd.train.jsonl"),
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
    ],
)
# As in the released lists, the mixture is validated and tested on RefCOCOg.
val_dataloader["dataset"].update(records="records/refcocog.umd.val.jsonl")
test_dataloader["dataset"].update(records="records/refcocog.umd.test.jsonl")
