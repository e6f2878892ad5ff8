"""DynRefer with EVA ViT-g and FlanT5-XL. Frozen: tower, its norm, queries, text encoder, language model.

The released code leaves the dropout of the frozen language model on in training; ``model.lively`` does so,
too. Starts from BLIP-2, joined with the frozen parts by ``refkit zoo import --layout blip2``.
"""

from refkit.backbones import CLIPTextEncoder, CLIPTokenizer, EVATower, RegionEncoder, T5Tokenizer
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.heads import CaptionHead, RegionContrastHead, T5Writer, TagHead
from refkit.models import DynRefer

text_width = 1024
model = dict(
    type=DynRefer,
    data_preprocessor=dict(
        type=ReferringPreprocessor,
        mean=[0.48145466, 0.4578275, 0.40821073],
        std=[0.26862954, 0.26130258, 0.27577711],
    ),
    compact=True,
    backbone=dict(
        type=RegionEncoder,
        tower=dict(type=EVATower, image_size=224),
        views=3,
        align=True,
        tower_precision="float16",
    ),
    text_encoder=dict(
        type=CLIPTextEncoder,
        size=dict(
            embed=1024,
            image_size=224,
            patch_size=14,
            vision=dict(width=1408, layers=40, heads=16, feedforward=6144),
            text=dict(width=768, layers=12, heads=12, feedforward=3072),
            activation="gelu",
        ),
        tokenizer=dict(type=CLIPTokenizer),
        projection=True,
        cache="cache/text_tables",
    ),
    heads=dict(
        tag=dict(
            type=TagHead,
            tags="downloads/ram_tag_list.txt",
            text_width=text_width,
            threshold=0.7,
            precision="float32",
        ),
        contrast=dict(
            type=RegionContrastHead,
            attributes="downloads/ovad_attributes.json",
            categories="downloads/coco_categories.json",
            text_width=text_width,
            precision="float32",
        ),
        caption=dict(
            type=CaptionHead,
            language_model=dict(type=T5Writer, size="flan-t5-xl"),
            tokenizer=dict(type=T5Tokenizer, model="downloads/flan-t5-xl/spiece.model"),
            beams=2,
            longest=20,
            precision="bfloat16",
        ),
    ),
    tasks=["caption"],
    lively=[],
)
load_from = "downloads/dynrefer_start_eva.safetensors"
load_allow_missing = [
    "backbone.align.*",
    "backbone.fusion.*",
    "heads.tag.*",
    "heads.contrast.*",
    "heads.caption.memory",
]
