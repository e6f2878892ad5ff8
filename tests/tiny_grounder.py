"""A real but tiny HiVG for tests of everything around it: random weights, 32 × 32 pixels, a dozen words."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from refkit.data.records import Header, ImageRef, Record, Target, write_records

WORDS = ["[pad]", "[unk]", "a", "circle", "dog", "left", "red", "right", "square", "the", "[start]", "[end]"]
SIZE = {
    "embed": 16,
    "image_size": 32,
    "patch_size": 8,
    "vision": {"width": 16, "layers": 2, "heads": 2},
    "text": {"width": 16, "layers": 1, "heads": 2},
    "vocab_size": len(WORDS),
    "context_length": 8,
}
PIPELINE = [{"type": "Letterbox", "size": 32}]


def model_config(vocabulary=None):
    """Plain config values of the model."""
    return {
        "type": "HiVG",
        "data_preprocessor": {
            "type": "ReferringPreprocessor",
            "tokenizer": {"type": "WordTokenizer", "vocabulary": vocabulary or WORDS, "context_length": 8},
        },
        "backbone": {"type": "CLIPBackbone", "size": SIZE, "visual_levels": [1, 2]},
        "encoder": {"type": "GroundingEncoder", "width": 16, "layers": 1, "heads": 2},
        "heads": {"box": {"type": "BoxHead"}},
    }


def joint_config(**mask):
    """A OneRef that answers with a box and a mask."""
    size = {"width": 16, "layers": 2, "heads": 2, "image_size": 32, "patch_size": 8, "vocab_size": len(WORDS)}
    size |= {"context_length": 8, "text_positions": 10}
    return {
        "type": "OneRef",
        "data_preprocessor": model_config()["data_preprocessor"],
        "backbone": {"type": "BEiT3Backbone", "size": size, "pad_id": 0},
        "heads": {"box": {"type": "SimilarityBoxHead"}, "mask": {"type": "CosineMaskHead", **mask}},
    }


def save_tiny_model(folder: Path, name: str = "tiny", config=None) -> Path:
    """A weights file of random weights with its config inside."""
    from refkit.registry import MODELS
    from refkit.zoo.weights import save_weights

    config = config or model_config()
    torch.manual_seed(0)
    model = MODELS.build(config)
    return save_weights(model, folder / f"{name}.safetensors", {"model": config, "pipeline": PIPELINE})


def save_tiny_work_dir(folder: Path) -> Path:
    """A work folder as a training run leaves it: config, checkpoint, vocabulary in a file of its own."""
    from refkit.backbones.tokenizer import WordTokenizer
    from refkit.engine.checkpoint import write_checkpoint
    from refkit.registry import MODELS

    folder.mkdir(parents=True, exist_ok=True)
    WordTokenizer.train([" ".join(WORDS[2:-2])], folder / "words.json", context_length=8)
    config = model_config(str(folder / "words.json"))
    dataloader = {"dataset": {"type": "refkit.data.dataset.ReferringDataset", "pipeline": PIPELINE}}
    text = f"model = {config!r}\ntest_dataloader = {dataloader!r}\ndefault_scope = 'refkit'\n"
    (folder / "tiny_config.py").write_text(text)
    torch.manual_seed(0)
    write_checkpoint({"state_dict": MODELS.build(config).state_dict()}, folder / "iter_3.pth")
    return folder


def write_tiny_records(folder: Path, count: int = 7) -> Path:
    """Records with pictures of unequal sizes under ``folder/pictures``."""
    rng = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    records = []
    for index in range(count):
        width, height = 40 + 4 * index, 60 - 3 * index
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{index}.png")
        records.append(
            Record(
                id=f"tiny.{index}",
                image=ImageRef(file=f"{index}.png", width=width, height=height, id=index),
                text=("the red circle", "left dog", "a square right")[index % 3],
                targets=[Target(box=(2.0, 3.0, 20.0, 25.0))],
            )
        )
    header = Header("refshapes", "refkit", "val", image_root="pictures")
    write_records(folder / "tiny.records.jsonl", header, records)
    return folder / "tiny.records.jsonl"


def json_lines(path: Path) -> list:
    """All lines of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
