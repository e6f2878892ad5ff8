"""Tiny configurations of the registered families, and batches that fit them: one place for all tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import sentencepiece
import torch

from refkit.backbones import (
    VQKD,
    BEiT3Backbone,
    CLIPBackbone,
    CLIPTextEncoder,
    EVATower,
    GroundingEncoder,
    RegionEncoder,
    T5Tokenizer,
    WordTokenizer,
)
from refkit.data.preprocessor import ReferringPreprocessor
from refkit.heads import (
    BoxHead,
    CaptionHead,
    MaskedImageHead,
    MaskedTextHead,
    RegionContrastHead,
    SimilarityBoxHead,
    SimilarityConstraintHead,
    T5Writer,
    TagHead,
)
from refkit.models import CLIPPretrain, DynRefer, HiVG, MRefM, OneRef, VQKDPretrain
from refkit.registry import MODELS
from refkit.structures import Frame, ReferringSample

SIZE = {
    "embed": 32,
    "image_size": 32,
    "patch_size": 8,
    "vision": {"width": 48, "layers": 3, "heads": 4},
    "text": {"width": 32, "layers": 2, "heads": 2},
    "vocab_size": 40,
    "context_length": 12,
}
BEIT3_SIZE = {
    "width": 48,
    "layers": 3,
    "heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "vocab_size": 40,
    "context_length": 12,
    "text_positions": 16,
}
VQKD_SIZE = {
    "width": 24,
    "layers": 1,
    "heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "codes": 12,
    "code_width": 4,
}
WORDS = [
    "red",
    "green",
    "blue",
    "yellow",
    "circle",
    "square",
    "star",
    "left",
    "right",
    "of",
    "the",
    "a",
    "above",
    "below",
    "big",
    "small",
    "dog",
    "cat",
]


def hivg_config(**changes):
    return {
        "type": HiVG,
        "backbone": {"type": CLIPBackbone, "size": SIZE, "visual_levels": (1, 2, 3)},
        "encoder": {"type": GroundingEncoder, "width": 32, "layers": 2, "heads": 4},
        "heads": {"box": {"type": BoxHead}},
        **changes,
    }


def oneref_config(**changes):
    return {
        "type": OneRef,
        "backbone": {"type": BEiT3Backbone, "size": BEIT3_SIZE, "drop_path": 0.0, "pad_id": 0},
        "heads": {"box": {"type": SimilarityBoxHead}, "constraint": {"type": SimilarityConstraintHead}},
        **changes,
    }


def mrefm_config(**changes):
    return {
        "type": MRefM,
        "data_preprocessor": {"type": ReferringPreprocessor},
        "backbone": {"type": BEiT3Backbone, "size": BEIT3_SIZE, "drop_path": 0.0, "pad_id": 0},
        "visual_tokenizer": {"type": VQKD, "size": VQKD_SIZE},
        "heads": {
            "constraint": {"type": SimilarityConstraintHead},
            "masked_image": {"type": MaskedImageHead, "codes": VQKD_SIZE["codes"]},
            "masked_text": {"type": MaskedTextHead, "vocabulary": 40, "context_length": 12},
        },
        **changes,
    }


def vqkd_config(**changes):
    return {
        "type": VQKDPretrain,
        "data_preprocessor": {"type": ReferringPreprocessor},
        "visual_tokenizer": {"type": VQKD, "size": VQKD_SIZE},
        "teacher": {"type": CLIPBackbone, "size": SIZE},
        "decoder_layers": 1,
        **changes,
    }


def pretrain_config(tokenizer, **changes):
    return {
        "type": CLIPPretrain,
        "backbone": {"type": CLIPBackbone, "size": SIZE},
        "tokenizer": tokenizer,
        **changes,
    }


def dynrefer_config(folder: Path, **changes):
    """Two views, all heads; the vocabularies of its words are written into ``folder``."""
    tower = {"type": EVATower, "width": 32, "layers": 2, "heads": 2, "feedforward": 48, "patch_size": 8}
    decoder = {"text_width": SIZE["embed"], "hidden": 16, "heads": 2, "feedforward": 32, "dropout": 0.0}
    t5 = {"vocab_size": 96, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    return {
        "type": DynRefer,
        "backbone": {
            "type": RegionEncoder,
            "tower": {**tower, "image_size": 32},
            "views": 2,
            "align": False,
            "qformer": {
                "width": 24,
                "layers": 2,
                "heads": 2,
                "feedforward": 48,
                "queries": 3,
                "dropout": 0.0,
            },
        },
        "text_encoder": {"type": CLIPTextEncoder, "size": SIZE, "tokenizer": word_tokenizer(folder)},
        "heads": {
            "caption": {
                "type": CaptionHead,
                "language_model": {"type": T5Writer, "size": t5, "dropout": 0.0},
                "tokenizer": t5_tokenizer(folder),
            },
            "tag": {"type": TagHead, "tags": WORDS, "threshold": 0.5, **decoder},
            "contrast": {
                "type": RegionContrastHead,
                "attributes": {"bright": ["red", "the yellow"], "dark": ["blue"]},
                "categories": WORDS[4:7],
                **decoder,
            },
        },
        **changes,
    }


def region_inputs(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Two views of 32 pixels of every region."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [8.0, 4.0, 20.0, 30.0]])
    return {
        "views": torch.randn(count, 2, 3, 32, 32, generator=generator),
        "regions": boxes.expand(count, -1, -1).clone(),
    }


def t5_tokenizer(folder: Path) -> T5Tokenizer:
    """Pieces of `WORDS` with T5's special ids."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*WORDS, ",|"] * 4),
        model_writer=model,
        vocab_size=96,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "words.spm").write_bytes(model.getvalue())
    return T5Tokenizer(folder / "words.spm")


def llama_tokenizer(folder: Path) -> Path:
    """A folder with a tokenizer of transformers for `WORDS`, as a LLaMA has."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(["<unk>", "<s>", "</s>", *WORDS, ",", "|"])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.WhitespaceSplit()]
    )
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(folder / "llama")
    return folder / "llama"


def word_tokenizer(folder: Path) -> WordTokenizer:
    """All of `WORDS`, padded with nonsense to the vocabulary size of `SIZE`."""
    fillers = [f"w{index}" for index in range(SIZE["vocab_size"] - 4 - len(WORDS))]
    return WordTokenizer.train([*WORDS, *fillers], folder / "words.json", SIZE["context_length"])


def build(config, seed=0):
    torch.manual_seed(seed)
    return MODELS.build(config)


def samples(count: int, boxes: int = 1) -> list[ReferringSample]:
    frame = Frame((64, 48), (32, 32), (0.5, 0.5), (0.0, 4.0))
    rng = np.random.default_rng(0)
    result = []
    for index in range(count):
        corner = rng.uniform(2, 12, (boxes, 2))
        corners = np.concatenate((corner, corner + rng.uniform(4, 16, (boxes, 2))), axis=1)
        captions = [f"{WORDS[rng.integers(4)]} {WORDS[4 + rng.integers(3)]}" for _ in range(boxes)]
        text = " ".join(WORDS[i] for i in rng.integers(0, len(WORDS), 2 + index))
        result.append(
            ReferringSample(
                f"s{index}", text, frame, boxes=corners.astype(np.float32), meta={"captions": captions}
            )
        )
    return result


def inputs(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Images with padding at the bottom of every second one, and texts of growing length."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    padding = torch.zeros(count, 32, 32, dtype=torch.bool)
    padding[::2, 24:] = True
    images[::2, :, 24:] = 0
    token_ids = torch.zeros(count, 4 + count, dtype=torch.int64)
    for row in range(count):
        words = torch.randint(2, 38, (2 + row,), generator=generator)
        token_ids[row, : 4 + row] = torch.tensor([38, *words.tolist(), 39])
    return {"images": images, "padding": padding, "token_ids": token_ids}


def masked_inputs(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """`inputs` with every third patch and every second word hidden."""
    given = inputs(count, seed)
    token_ids = given["token_ids"]
    places = torch.arange(token_ids.shape[1])
    token_masked = (token_ids != 0) & (places % 2 == 1)
    return {
        **given,
        "patch_masked": (torch.arange(16) % 3 == 0).expand(count, 16),
        "token_masked": token_masked,
        "masked_token_ids": torch.where(token_masked, 37, token_ids),
    }
