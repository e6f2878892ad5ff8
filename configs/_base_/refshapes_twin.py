"""The small twin of CLIP on RefShapes: sizes, words, picture pipeline. 96×96 pictures, 12×12 patches."""

from refkit.backbones import CLIPBackbone, WordTokenizer
from refkit.data.collate import collate
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.transforms import Letterbox

# Every word of `refkit.data.refshapes.vocabulary()`; a test keeps the two equal.
words = [
    "[pad]",
    "[unk]",
    "a",
    "above",
    "an",
    "and",
    "at",
    "below",
    "big",
    "bigger",
    "biggest",
    "blue",
    "bottom",
    "bottommost",
    "checkered",
    "circle",
    "closest",
    "corner",
    "cross",
    "dotted",
    "far",
    "first",
    "from",
    "green",
    "in",
    "large",
    "left",
    "leftmost",
    "little",
    "lower",
    "middle",
    "of",
    "on",
    "orange",
    "over",
    "purple",
    "red",
    "right",
    "rightmost",
    "ring",
    "second",
    "small",
    "smaller",
    "smallest",
    "square",
    "star",
    "striped",
    "the",
    "third",
    "to",
    "top",
    "topmost",
    "triangle",
    "under",
    "upper",
    "white",
    "yellow",
    "[start]",
    "[end]",
]
clip_size = dict(
    embed=128,
    image_size=96,
    patch_size=12,
    vision=dict(width=128, layers=4, heads=4),
    text=dict(width=128, layers=2, heads=4),
    vocab_size=59,
    context_length=20,
)
tokenizer = dict(type=WordTokenizer, vocabulary=words, context_length=20)
preprocessor = dict(type=ReferringPreprocessor, tokenizer=tokenizer, trim_text=True)
pipeline = [dict(type=Letterbox, size=96)]
collate_fn = dict(type=collate)
backbone = dict(type=CLIPBackbone, size=clip_size)
