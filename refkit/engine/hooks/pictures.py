"""A page of evaluated samples: what was asked, what was answered, what was right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from refkit.registry import HOOKS
from refkit.rle import decode
from refkit.structures import Frame, Prediction, ReferringSample

if TYPE_CHECKING:
    from PIL.Image import Image

_TILE_WIDTH = 224


@HOOKS.register_module()
class SamplePicturesHook(Hook):
    """Draws the first samples of every validation or test into ``pictures/<mode>_<iterations>.png``.

    Blue is the annotation, orange the first predicted box, as on the pages of `refkit.inference`; below stand
    the expression and their IoU. The samples are those of the first process.

    Args:
        count: samples on the page; 0 switches the hook off.
        keep: how many of the newest validation pages stay.

    Raises:
        ValueError: a negative number.
    """

    priority = "LOW"

    def __init__(self, count: int = 16, keep: int = 5) -> None:
        if count < 0 or keep < 1:
            raise ValueError(f"SamplePicturesHook: count starts at 0 and keep at 1, got {count} and {keep}")
        self._count = count
        self._keep = keep
        self._seen: list[tuple[np.ndarray, ReferringSample, Prediction]] = []

    def _before_epoch(self, runner: Any, mode: str = "train") -> None:
        if mode != "train":
            self._seen = []

    def _after_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = "train",
    ) -> None:
        room = self._count - len(self._seen)
        if mode == "train" or room <= 0 or not is_main_process():
            return
        images = data_batch["inputs"].get("images")
        if images is None:
            return  # models of regions are given views of them instead
        canvases = images[:room].permute(0, 2, 3, 1).cpu().numpy()
        self._seen.extend(zip(canvases, data_batch["data_samples"], outputs, strict=False))

    def _after_epoch(self, runner: Any, mode: str = "train") -> None:
        if mode == "train" or not self._seen:
            return
        from refkit.data.draw import contact_sheet

        folder = Path(runner.work_dir) / "pictures"
        folder.mkdir(exist_ok=True)
        name = mode if runner.is_standalone_evaluation else f"{mode}_{runner.iter}"
        contact_sheet([tile(*seen) for seen in self._seen]).save(folder / f"{name}.png")
        self._seen = []
        pages = sorted(folder.glob("val_*.png"), key=lambda page: int(page.stem.removeprefix("val_")))
        for old in pages[: -self._keep]:
            old.unlink()


def tile(image: np.ndarray, sample: ReferringSample, prediction: Prediction) -> Image:
    """One sample of the page.

    Args:
        image: ``(H, W, 3)`` uint8, the canvas the model saw.
        sample: its expression, annotated boxes (canvas pixels) and frame.
        prediction: boxes in pixels of the original image; a mask is tinted.
    """
    from PIL import Image

    from refkit.data.draw import captioned, colour, draw_box, draw_mask
    from refkit.metrics.boxes import paired_iou

    scale = _TILE_WIDTH / image.shape[1]
    picture = Image.fromarray(image).resize((_TILE_WIDTH, max(1, round(image.shape[0] * scale))))
    if prediction.mask is not None:
        draw_mask(picture, _canvas_mask(prediction.mask, sample.frame, picture.size), colour(0))
    for box in sample.boxes:
        draw_box(picture, box * scale, colour(1))
    caption = sample.text
    if prediction.boxes is not None and len(prediction.boxes):
        predicted = sample.frame.to_canvas(prediction.boxes[:1])
        draw_box(picture, predicted[0] * scale, colour(0))
        if len(sample.boxes) == 1:
            caption = f"{caption} [IoU {paired_iou(predicted, np.float64(sample.boxes))[0]:.2f}]"
    return captioned(picture, caption, _TILE_WIDTH)


def _canvas_mask(mask: Mapping[str, Any], frame: Frame, size: tuple[int, int]) -> np.ndarray:
    """A predicted mask at the pixels of the tile, whose ``(width, height)`` shows the whole canvas."""
    pixels = decode(mask)
    places, inside = [], []
    for axis, side in enumerate(size):
        canvas = (np.arange(side) + 0.5) * frame.canvas[axis] / side
        # A mask of the canvas itself (metric_resolution) needs no frame.
        whole = pixels.shape == frame.canvas[::-1]
        original = canvas if whole else (canvas - frame.shift[axis]) / frame.scale[axis]
        inside.append((original >= 0) & (original < pixels.shape[1 - axis]))
        places.append(np.clip(original.astype(np.int64), 0, pixels.shape[1 - axis] - 1))
    return pixels[np.ix_(places[1], places[0])] & inside[1][:, None] & inside[0]
