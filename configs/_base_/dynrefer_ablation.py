"""What the rows of DynRefer's ablations share: EVA ViT-g, VG-COCO and RefCOCOg together, scored on RefCOCOg.

The other benchmarks of these tables are a matter of options, see the page on DynRefer.
"""

from mmengine.config import read_base

with read_base():
    from .dynrefer_recipe import *
    from .dynrefer_eva import *

from refkit.data.mixture import MixtureDataset
from refkit.engine import ProtocolMetric

train_dataloader["dataset"] = dict(
    type=MixtureDataset,
    members=[
        dict(type=ReferringDataset, pipeline=train_pipeline, records="records/vg.coco.train.jsonl"),
        dict(
            type=ReferringDataset,
            pipeline=train_pipeline,
            records="records/captions/refcocog.umd.train.jsonl",
        ),
    ],
    exclude_evaluated=True,
    evaluates_on=[
        "records/captions/refcocog.umd.val.jsonl",
        "records/densecap/vg.coco.test.jsonl",
        "records/ovad.box.test.jsonl",
        "records/coco.instances.val2017.jsonl",
    ],
)
val_dataloader["dataset"].update(records="records/captions/refcocog.umd.val.jsonl")
test_dataloader["dataset"].update(records="records/captions/refcocog.umd.val.jsonl")
val_evaluator = dict(type=ProtocolMetric, protocol="caption/expression")
test_evaluator = val_evaluator
default_hooks.update(checkpoint=dict(save_best="caption/meteor"))
