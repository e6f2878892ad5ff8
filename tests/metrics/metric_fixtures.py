"""Reference values of the evaluation fixtures, and records and predictions made of their samples."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from refkit.data.records import ImageRef, Record, Target
from refkit.data.sources.geometry import unite
from refkit.metrics.protocol import get_protocol
from refkit.structures import Prediction

GOLDEN = Path(__file__).resolve().parents[1] / "golden/eval"


def fixture(name):
    """One fixture file with its keys as attributes."""
    return SimpleNamespace(**json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")))


def values(protocol, pairs):
    """The metrics of a protocol by name, and its evaluation."""
    evaluation = get_protocol(protocol).evaluate(iter(pairs))
    return {name: column.value for name, column in evaluation.columns.items()}, evaluation


def image(sample):
    return ImageRef(f"{sample['image']['id']}.jpg", sample["image"]["width"], sample["image"]["height"])


def xyxy(xywh):
    left, top, width, height = xywh
    return (left, top, left + width, top + height)


def rec_pairs(samples):
    for sample in samples:
        targets = [Target(box=xyxy(sample["gt_box_xywh"]), category=sample["category"])]
        box = sample["pred_box_xyxy"]
        prediction = Prediction(sample["id"], boxes=np.array([box] if box else []).reshape(-1, 4))
        yield Record(sample["id"], image(sample), sample["expression"], targets), prediction


def read_jsonl(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def mask_record(sample, masks, ignore=None, polygons=None):
    """A record whose targets have masks, and polygons where they are given."""
    targets = [Target(mask=mask, polygons=polygons) for mask in masks]
    return Record(sample["id"], image(sample), sample["expression"], targets, ignore=ignore)


def res_pairs(samples):
    for sample in samples:
        parts = sample["gt_segmentation"]
        mask = unite(parts, sample["image"]["width"], sample["image"]["height"])
        polygons = parts if isinstance(parts, list) else None
        record = mask_record(sample, [mask] if mask else [], polygons=polygons)
        yield record, Prediction(sample["id"], mask=sample["pred_mask"])


def reason_pairs(samples):
    for sample in samples:
        record = mask_record(sample, [sample["gt_mask"]], ignore=sample["ignore_mask"])
        yield record, Prediction(sample["id"], mask=sample["pred_mask"])


def gres_pairs(samples):
    for sample in samples:
        flag = sample["pred_no_target"]
        yield (
            mask_record(sample, sample["gt_masks"]),
            Prediction(sample["id"], mask=sample["pred_mask"], no_target=flag),
        )


def grec_pairs(samples):
    for sample in samples:
        targets = [Target(box=xyxy(box)) for box in sample["gt_boxes_xywh"]]
        boxes = np.array([one["box_xyxy"] for one in sample["pred"]]).reshape(-1, 4)
        scores = np.array([one["score"] for one in sample["pred"]])
        record = Record(sample["id"], image(sample), sample["expression"], targets)
        yield record, Prediction(sample["id"], boxes=boxes, scores=scores)


def phrase_pairs(reference):
    """One record per evaluated phrase, with the phrase type as a fact."""
    chains = {chain["id"]: chain for one in reference.images for chain in one["chains"]}
    sizes = {one["id"]: (one["width"], one["height"]) for one in reference.images}
    for sentence in reference.predictions:
        for place, phrase in enumerate(sentence["phrases"]):
            boxes = chains[phrase["chain_id"]]["boxes"]
            identity = f"{sentence['image_id']}.{sentence['sentence_id']}.{place}"
            record = Record(
                identity,
                ImageRef(f"{sentence['image_id']}.jpg", *sizes[sentence["image_id"]]),
                phrase["phrase"],
                [Target(box=tuple(map(float, box)), any=len(boxes) > 1) for box in boxes],
                facts={"type": phrase["types"][0]},
            )
            yield record, Prediction(identity, boxes=np.array(phrase["ranked_boxes_xyxy"]))


def attribute_pairs(reference):
    names = [one["name"] for one in reference.attributes]
    groups = {one["name"]: one["frequency"] for one in reference.attributes}
    for row, (labels, scores) in enumerate(zip(reference.labels, reference.scores, strict=True)):
        known = {name: label for name, label in zip(names, labels, strict=True) if label >= 0}
        record = Record(
            str(row), ImageRef(f"{row // 4}.jpg", 100, 100), labels=known, facts={"attribute_groups": groups}
        )
        yield record, Prediction(str(row), attributes=dict(zip(names, scores, strict=True)))


def recognition_pairs(reference):
    names = {str(one["id"]): one["name"] for one in reference.categories}
    for sample in reference.samples:
        target = Target(box=xyxy(sample["box_xywh"]), category=names[str(sample["category_id"])])
        record = Record(sample["id"], ImageRef(f"{sample['image_id']}.jpg", 640, 480), targets=[target])
        scores = {names[key]: score for key, score in sample["scores"].items()}
        yield record, Prediction(sample["id"], categories=scores)
