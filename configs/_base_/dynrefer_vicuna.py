"""The caption head on Vicuna-7B 1.5, frozen, in place of FlanT5-XL; control words without a memory vector."""

from refkit.backbones import PretrainedTokenizer
from refkit.heads import CaptionHead, CausalWriter

vicuna_head = dict(
    type=CaptionHead,
    language_model=dict(
        type=CausalWriter,
        family="llama",
        size=dict(
            vocab_size=32000,
            hidden_size=4096,
            intermediate_size=11008,
            num_hidden_layers=32,
            num_attention_heads=32,
            max_position_embeddings=4096,
            rms_norm_eps=1e-5,
        ),
    ),
    tokenizer=dict(type=PretrainedTokenizer, name="downloads/vicuna-7b-v1.5"),
    beams=2,
    longest=20,
    memory=False,
    precision="bfloat16",
)
