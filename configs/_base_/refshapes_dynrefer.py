"""The small twin of DynRefer on RefShapes: 96×96 pictures, views of 72×72, patches of 12.

Tower and text encoder are the two halves of the small CLIP. Attributes and classes are asked for by captions
of single objects, every attribute by all that have it: captions do not say that something is solid or medium.
Captions tell an object and its place; the contrast learns from the same texts without the place.
"""

from mmengine.config import read_base

with read_base():
    from .refshapes_twin import *

from refkit.backbones import CLIPTextEncoder, CLIPTower, RegionEncoder, T5Tokenizer
from refkit.data.transforms import RegionCaption, RegionViews
from refkit.heads import CaptionHead, RegionContrastHead, T5Writer, TagHead
from refkit.models import DynRefer

# As in `refkit.data.refshapes`; a test keeps them equal.
shapes = ["circle", "square", "triangle", "star", "cross", "ring"]
colours = ["red", "green", "blue", "yellow", "purple", "orange", "white"]
fills = ["", "striped ", "dotted ", "checkered "]
sizes = ["small ", "", "large "]
# The small CLIP has never read "medium".
tags = {
    **{tag: [tag] for tag in [*shapes, *colours, "striped", "dotted", "checkered", "small"]},
    "medium": ["middle"],
    "large": ["large"],
}
nouns = [f"{colour} {shape}" for colour in colours for shape in shapes]
attributes = {
    **{
        f"colour:{colour}": [
            f"a {size}{fill}{colour} {s}" for size in sizes for fill in fills for s in shapes
        ]
        for colour in colours
    },
    **{
        f"fill:{fill.strip() or 'solid'}": [f"a {size}{fill}{noun}" for size in sizes for noun in nouns]
        for fill in fills
    },
    **{
        f"size:{size.strip() or 'medium'}": [f"a {size}{fill}{noun}" for fill in fills for noun in nouns]
        for size in sizes
    },
}
categories = {
    shape: [f"a {size}{fill}{colour} {shape}" for size in sizes for fill in fills for colour in colours]
    for shape in shapes
}

weights = "model_zoo/refshapes/clip_tiny.safetensors"
views = 2
decoder = dict(text_width=128, hidden=96, heads=4, feedforward=192, dropout=0.0)
model = dict(
    type=DynRefer,
    data_preprocessor=dict(type=ReferringPreprocessor),
    backbone=dict(
        type=RegionEncoder,
        tower=dict(type=CLIPTower, size=clip_size, image_size=72, weights=weights),
        views=views,
        align=True,
        qformer=dict(width=96, layers=4, heads=4, feedforward=192, queries=8, dropout=0.0),
    ),
    text_encoder=dict(type=CLIPTextEncoder, size=clip_size, tokenizer=tokenizer, weights=weights),
    heads=dict(
        tag=dict(type=TagHead, tags=tags, threshold=0.5, **decoder),
        contrast=dict(type=RegionContrastHead, attributes=attributes, categories=categories, **decoder),
        caption=dict(
            type=CaptionHead,
            language_model=dict(
                type=T5Writer,
                size=dict(vocab_size=200, d_model=96, d_kv=24, d_ff=192, num_layers=2, num_heads=4),
                dropout=0.0,
            ),
            tokenizer=dict(type=T5Tokenizer, model="model_zoo/refshapes/refshapes_t5.spm"),
            longest=20,
            repetition_penalty=1.0,
        ),
    ),
    freeze=["text_encoder"],
)
train_pipeline = [
    dict(type=RegionCaption, which="first"),
    dict(type=RegionViews, views=views, side=72, selection="random"),
]
test_pipeline = [dict(type=RegionViews, views=views, side=72, selection=[0.0, 0.5])]
