"""The small twin of BEiT-3 on RefShapes: sizes and words. Pictures, batches: those of the other twins."""

from refkit.backbones import BEiT3Backbone, SentencePieceTokenizer
from refkit.data.collate import collate
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.data.transforms import Letterbox

tokenizer = dict(type=SentencePieceTokenizer, model="model_zoo/refshapes/refshapes.spm", context_length=20)
preprocessor = dict(type=ReferringPreprocessor, tokenizer=tokenizer, trim_text=True)
pipeline = [dict(type=Letterbox, size=96)]
collate_fn = dict(type=collate)
backbone = dict(
    type=BEiT3Backbone,
    size=dict(
        width=128,
        layers=4,
        heads=4,
        image_size=96,
        patch_size=12,
        vocab_size=202,
        context_length=20,
        text_positions=22,
        position_std=0.3,
        smooth_positions=True,
        linear_std=0.08,
    ),
    drop_path=0.0,
)
