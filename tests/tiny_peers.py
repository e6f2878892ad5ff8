"""Peers of transformers in miniature: real classes, random weights, processors made from their parts, in a folder
as the hub has them."""

import string
from pathlib import Path

import numpy as np
import torch
from transformers import (
    BartConfig,
    BartTokenizer,
    BertConfig,
    BertTokenizer,
    CLIPImageProcessor,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    Kosmos2Processor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    Sam3Config,
    Sam3ImageProcessor,
    Sam3Model,
    Sam3Processor,
    SamConfig,
    SamImageProcessor,
    SamModel,
    SamProcessor,
    SwinConfig,
    ViTImageProcessor,
    XLMRobertaTokenizer,
)

from refkit.structures import Frame, ReferringSample

WIDTH = 16
LAYER = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def save_peer(method: str, folder: Path) -> Path:
    """The folder of a small random model that ``hf:method`` (or ``--refine method``) takes."""
    torch.manual_seed(0)
    model, processor = MAKERS[method]()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def grounding_dino():
    """Swin of 16 channels, BERT of 16, five queries."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *string.ascii_lowercase]
    words += [f"##{letter}" for letter in string.ascii_lowercase]
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=64)
    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    bert = BertConfig(vocab_size=len(words), max_position_embeddings=64, **LAYER)
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=bert, d_model=32, num_queries=5, max_text_len=24,
        encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_n_points=2, decoder_n_points=2,
    )  # fmt: skip
    pictures = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    return GroundingDinoForObjectDetection(config), GroundingDinoProcessor(pictures, tokenizer)


def owlv2():
    """A 2 x 2 grid: four boxes."""
    tokenizer = clip_tokenizer(16)
    config = Owlv2Config(
        text_config={**LAYER, **clip_text(tokenizer), "max_position_embeddings": 16},
        vision_config={**LAYER, "image_size": 32, "patch_size": 16},
        projection_dim=WIDTH,
    )
    pictures = Owlv2ImageProcessor(size={"height": 32, "width": 32})
    return Owlv2ForObjectDetection(config), Owlv2Processor(pictures, tokenizer)


def clipseg():
    """A 4 x 4 grid decoded to 32 x 32 logits."""
    tokenizer = clip_tokenizer(24)
    config = CLIPSegConfig(
        text_config={**LAYER, **clip_text(tokenizer), "max_position_embeddings": 24},
        vision_config={**LAYER, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8},
        projection_dim=WIDTH,
        extract_layers=[0, 1],
        reduce_dim=8,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    pictures = ViTImageProcessor(size={"height": 32, "width": 32}, **HALF)
    return CLIPSegForImageSegmentation(config), CLIPSegProcessor(pictures, tokenizer)


def sam3():
    """Six queries over a 4 x 4 grid."""
    tokenizer = clip_tokenizer(32)
    part = {"hidden_size": WIDTH, "num_attention_heads": 2}
    layers = {**part, "num_layers": 1, "intermediate_size": 32}
    vit = {**LAYER, "image_size": 56, "patch_size": 14, "pretrain_image_size": 56, "window_size": 4}
    config = Sam3Config(
        vision_config={
            "backbone_config": {"model_type": "sam3_vit_model", **vit, "global_attn_indexes": [0]},
            "fpn_hidden_size": WIDTH,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config=CLIPTextConfig(
            **LAYER, **clip_text(tokenizer), max_position_embeddings=32, projection_dim=WIDTH
        ).to_dict(),
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": 6},
        mask_decoder_config=part,
    )
    pictures = Sam3ImageProcessor(size={"height": 56, "width": 56}, mask_size={"height": 16, "width": 16})
    return Sam3Model(config), Sam3Processor(pictures, tokenizer)


def sam():
    """A 4 x 4 grid, masks of 16 x 16."""
    config = SamConfig(
        vision_config={**LAYER, "output_channels": WIDTH, "image_size": 64, "patch_size": 16,
                       "num_pos_feats": WIDTH // 2, "window_size": 2, "global_attn_indexes": [0],
                       "initializer_range": 0.02},
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": 64, "patch_size": 16,
                               "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": WIDTH, "mlp_dim": 32, "num_attention_heads": 2,
                             "iou_head_hidden_dim": 16, "num_hidden_layers": 1},
    )  # fmt: skip
    pictures = SamImageProcessor(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    return SamModel(config), SamProcessor(pictures)


def florence_2():
    """DaViT of 8 channels, BART of 16, all thousand bins."""
    bytes_of_text = byte_alphabet()
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_of_text]
    tokenizer = BartTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([f"<loc_{place}>" for place in range(1000)])
    text = BartConfig(
        vocab_size=len(tokenizer), d_model=WIDTH, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_position_embeddings=256,
    )  # fmt: skip
    config = Florence2Config(
        text_config=text,
        vision_config={"depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2],
                       "patch_padding": [3, 1], "patch_prenorm": [False, True], "embed_dim": [8, 16],
                       "num_heads": [2, 2], "num_groups": [2, 2], "window_size": 4,
                       "projection_dim": WIDTH},
        image_token_id=tokenizer.image_token_id,
    )  # fmt: skip
    pictures = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    pictures.image_seq_length = 17
    return Florence2ForConditionalGeneration(config), Florence2Processor(pictures, tokenizer)


def kosmos_2():
    """CLIP of 16 channels, four picture tokens, 32 x 32 places."""
    letters = [(f"▁{letter}", -2.0) for letter in string.ascii_lowercase]
    letters += [(letter, -3.0) for letter in "▁" + string.ascii_lowercase]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = XLMRobertaTokenizer(vocab=[*special, *letters, ("<mask>", 0.0)])
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = Kosmos2Processor(pictures, tokenizer)
    config = Kosmos2Config(
        text_config={"vocab_size": len(tokenizer), "max_position_embeddings": 128, "embed_dim": WIDTH,
                     "layers": 1, "ffn_dim": 32, "attention_heads": 2},
        vision_config={**LAYER, "image_size": 28, "patch_size": 14},
        latent_query_num=4,
    )  # fmt: skip
    return Kosmos2ForConditionalGeneration(config), processor


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def clip_tokenizer(length: int) -> CLIPTokenizer:
    """CLIP's tokenizer with single bytes as its only pieces."""
    pieces = byte_alphabet()
    words = [*pieces, *(f"{piece}</w>" for piece in pieces), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=length
    )


def clip_text(tokenizer: CLIPTokenizer) -> dict[str, int]:
    """The numbers of a text tower that follow from its tokenizer."""
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


MAKERS = {
    "grounding-dino": grounding_dino,
    "owlv2": owlv2,
    "florence-2": florence_2,
    "kosmos-2": kosmos_2,
    "clipseg": clipseg,
    "sam3": sam3,
    "sam": sam,
}


def teach(model, inputs, labels, steps: int = 40):
    """Fit a generating model to one answer, so that it gives that answer."""
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()


def picture(width, height, seed=0):
    """Noise."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def sample(identity, text, width, height, seed=0):
    """A question about noise."""
    return ReferringSample(identity, text, Frame.identity(width, height), picture(width, height, seed))
