"""SAM turns boxes into masks (ICCV 2023): ``--refine sam``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import SamModel, SamProcessor

from refkit import rle
from refkit.inference.peers.method import Settings
from refkit.inference.peers.pretrained import Pretrained
from refkit.structures import Prediction


class SamSettings(Settings):
    """Which boxes of an answer become its mask.

    Attributes:
        boxes: the ``"best"`` one, or ``"all"`` (the masks are united).
    """

    boxes: Literal["best", "all"] = "best"


class SamRefiner:
    """The mask of a predicted box; its box and score stay as they are.

    SAM is asked for one mask per box: a box leaves little doubt about what is meant. The features of a
    picture are kept until the next one comes, so that its further expressions cost little.

    Args:
        weights: where the model and its processor come from.
        settings: of this run.
        device: where it computes.
    """

    name = "sam"

    def __init__(self, weights: Pretrained, settings: SamSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        model, self.processor = weights.load(SamModel, SamProcessor, ("sam",))
        self.model = model.to(device).eval()
        self._seen: tuple[np.ndarray, Tensor] | None = None

    def refine(self, picture: np.ndarray, prediction: Prediction) -> Prediction:
        """The prediction with the mask of its box.

        Args:
            picture: ``(H, W, 3)`` uint8 RGB.
            prediction: boxes in pixels of the picture, best first. One without boxes gets no mask.
        """
        boxes = np.zeros((0, 4)) if prediction.boxes is None else np.asarray(prediction.boxes, np.float64)
        boxes = boxes if self.settings.boxes == "all" else boxes[:1]
        if not len(boxes) or not np.isfinite(boxes).all():
            return replace(prediction, mask=None)
        inputs = self.processor(
            images=Image.fromarray(picture), input_boxes=[boxes.tolist()], return_tensors="pt"
        )
        outputs = self.model(
            image_embeddings=self._features(picture, inputs),
            input_boxes=inputs["input_boxes"].to(self.device, torch.float32),
            multimask_output=False,
        )
        masks = self.processor.post_process_masks(
            outputs.pred_masks.float().cpu(), inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )[0]
        return replace(prediction, mask=rle.encode(masks[:, 0].any(dim=0).numpy()))

    def _features(self, picture: np.ndarray, inputs: Any) -> Tensor:
        if self._seen is None or not np.array_equal(self._seen[0], picture):
            pixels = inputs["pixel_values"].to(self.device)
            self._seen = picture, self.model.get_image_embeddings(pixels)
        return self._seen[1]


REFINERS = {SamRefiner.name: SamRefiner}
