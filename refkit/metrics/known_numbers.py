"""Which protocol stands behind a famous number, so that it is compared with the right column.

Source: §2.10 of the evaluation specification, read in the released code except where `KnownNumber.note` says
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownNumber:
    """A published value.

    Attributes:
        number: method, value and set as people quote them.
        protocol: id of the protocol that computes it; empty where it needs something that no file holds.
        note: what it is in words.
    """

    number: str
    protocol: str
    note: str


KNOWN_NUMBERS = (
    KnownNumber(
        "TransVG 81.02, CLIP-VG 84.29, HiVG 87.32, OneRef 88.75 / 92.87 (RefCOCO val)",
        "rec/transvg",
        "IoU >= .5, annotated box cut to integers, padded square, one sample per expression",
    ),
    KnownNumber("MDETR 86.75", "rec/mdetr-giou", "mixed training with evaluation images removed"),
    KnownNumber("Shikra-7B 87.01", "rec/strict-gt", "IoU > .5; padded coordinates with three decimals"),
    KnownNumber("Ferret-7B 87.49", "rec/unclipped", "answers in whole thousandths; a failed parse is a miss"),
    KnownNumber("MAttNet 76.65 (detected boxes)", "rec/inclusive", "boxes of whole pixels"),
    KnownNumber("VLM-R1 tables", "rec/vlm-r1", "a sample of 500 or 2,000 expressions of val"),
    KnownNumber("Ref-L4 leaderboard", "rec/ref-l4", "IoU > t, also as a mean over categories"),
    KnownNumber(
        "HiVG†, OneRef† (mixtures)",
        "rec/transvg",
        "57 to 61 % of the evaluated expressions lie on training images",
    ),
    KnownNumber(
        "LAVT 72.73 / 74.46",
        "res/lavt",
        "overall IoU (paper) and mean IoU (README, as stated there) of one model",
    ),
    KnownNumber("CRIS 70.47", "res/cris", "mean IoU; ResNet-101; mask threshold .35"),
    KnownNumber("OneRef 77.57 / 80.09 (masks)", "res/padded-canvas", "mean IoU on the padded 384 canvas"),
    KnownNumber("SeqTR 71.70 (masks)", "res/1", "mean IoU of run-length masks at the original size"),
    KnownNumber("LISA, GLaMM, Sa2VA on RefCOCO", "res/lisa", "cIoU = overall IoU only"),
    KnownNumber("LISA on ReasonSeg", "reason/1", "gIoU = mean, cIoU = overall IoU, ignore areas removed"),
    KnownNumber("ReLA 62.42 / 63.60 (gRefCOCO val)", "gres/flag", "cIoU / gIoU with the flag rules"),
    KnownNumber(
        "GLaMM 106.0, Osprey 108.3, ControlCap 111.4, DynRefer 115.7 (RefCOCOg CIDEr)",
        "caption/expression",
        "umd val, 4,896 items with one reference each",
    ),
    KnownNumber("SLR+Rerank 66.2 (CIDEr)", "caption/region", "google val, several references"),
    KnownNumber(
        "Kosmos-2 62.3 (CIDEr)",
        "caption/region",
        "four examples in the prompt, several references; from memory, not read in code",
    ),
    KnownNumber(
        "GLaMM 180.5, DynRefer 190.9 (VG CIDEr)",
        "caption/expression",
        "5,000 single regions; the all-regions numbers of ASM and TAP are another test",
    ),
    KnownNumber("FCLN 5.4, GRiT 15.5 (VG 1.0 mAP)", "densecap/lua", "own boxes; as stated by the authors"),
    KnownNumber(
        "ControlCap 18.2, DynRefer 19.1 (mAP)", "densecap/python", "GRiT's boxes; 42.4 / 47.2 on given boxes"
    ),
    KnownNumber(
        "OVAD 21.4, X-VLM 28.1, DynRefer 29.2 (mAP)", "attributes/box", "given boxes, 117 attributes"
    ),
    KnownNumber(
        "RegionCLIP 58.3 (mAP)", "recognition/all", "given boxes; 65 classes, where rows below it use 80"
    ),
    KnownNumber(
        "DynRefer 89.2 mAP / 91.8 %",
        "recognition/top1",
        "one detection per box / accuracy over boxes, 80 classes",
    ),
)
