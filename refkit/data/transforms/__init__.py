"""Transforms of a sample: image, boxes, masks, padding, text and frame always move together.

A transform is a callable ``(sample, rng) -> sample`` and never changes the sample it was given. Pixels stay
uint8 through the whole pipeline (the preprocessor makes floats on the device); resizing and colour use
Pillow, whose results the published numbers rest on.
"""

from refkit.data.transforms.compose import Compose, RandomApply, Transform, UnlessPlaceWords, build_transform
from refkit.data.transforms.conversation import Conversation
from refkit.data.transforms.crop import RandomCrop
from refkit.data.transforms.geometry import (
    HorizontalFlip,
    Letterbox,
    Pad,
    RandomResize,
    RandomScale,
    RandomTranslate,
    Resize,
    TruncateBoxes,
)
from refkit.data.transforms.masking import MaskText, ReferringMask
from refkit.data.transforms.photometric import ColorJitter
from refkit.data.transforms.primitives import DegenerateBoxError
from refkit.data.transforms.region_caption import RegionCaption
from refkit.data.transforms.region_views import RegionViews

__all__ = [
    "ColorJitter",
    "Compose",
    "Conversation",
    "DegenerateBoxError",
    "HorizontalFlip",
    "Letterbox",
    "MaskText",
    "Pad",
    "RandomApply",
    "RandomCrop",
    "RandomResize",
    "RandomScale",
    "RandomTranslate",
    "ReferringMask",
    "RegionCaption",
    "RegionViews",
    "Resize",
    "Transform",
    "TruncateBoxes",
    "UnlessPlaceWords",
    "build_transform",
]
