"""What a short run of MRefM on RefShapes needs beside the package: hidden parts by sample id, a diary of losses."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS

from refkit.backbones import WordTokenizer
from refkit.data.collate import collate
from refkit.registry import HOOKS

MASK_ID = 59  # the row after the twin's 59 words


@FUNCTIONS.register_module(force=True)
def hiding_collate(samples: list[Any], words: list[str]) -> dict[str, Any]:
    """A batch with random patches and words hidden; a sample's are the same in every process."""
    batch = collate(samples)
    token_ids = WordTokenizer(words, 20)([sample.text for sample in samples])
    generators = [np.random.default_rng(zlib.crc32(sample.id.encode())) for sample in samples]
    patches = np.stack([rng.random(64) < 0.4 for rng in generators])
    hidden = torch.from_numpy(np.stack([rng.random(20) < 0.4 for rng in generators]))
    hidden &= token_ids != 0
    hidden[:, 0], hidden[:, 1] = False, True
    batch["inputs"] |= {
        "patch_masked": torch.from_numpy(patches),
        "token_masked": hidden,
        "masked_token_ids": torch.where(hidden, MASK_ID, token_ids),
    }
    return batch


@HOOKS.register_module(force=True)
class DiaryHook(Hook):
    """One line per iteration: its number, the optimizer step that the model was told, and its losses."""

    priority = "HIGHEST"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        losses = {name: float(value) for name, value in outputs.items() if name.startswith("loss_")}
        with (Path(runner.work_dir) / "diary.jsonl").open("a") as file:
            file.write(json.dumps([runner.iter, runner.bare_model.step, losses]) + "\n")
