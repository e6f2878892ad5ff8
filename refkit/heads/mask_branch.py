"""What all mask heads share: targets, losses, and masks that lead back to the original picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from refkit.data.arguments import require_choice
from refkit.heads.region_text import box_map
from refkit.losses.masks import dice, focal
from refkit.rle import encode
from refkit.structures import Features, Frame, Prediction, ReferringSample


class MissingMaskError(ValueError):
    """A head that learns masks was given a sample that has none."""


class MaskBranch(nn.Module):
    """A head whose `forward` gives mask logits of the canvas; a kind of head fills in how.

    Args:
        target: ``box``: trained on the filled target boxes, as all released HiVG models were; it then answers
            nothing, it is one more box loss. ``mask``: trained on the true masks, and answers with a mask.
        focal_weight: coefficient of the focal loss; 20 in HiVG and OneRef.
        dice_weight: coefficient of the dice loss; 2 in HiVG and OneRef.
        mask_rule: which pixels are foreground. ``upsampled``: where the bilinearly up-sampled logit is
            positive. ``published``: where the up-sampled ``relu(sigmoid(logit) - 0.5)`` is positive, which
            adds about one pixel of the canvas all round (released code of HiVG and OneRef).
        metric_resolution: the pixels of an answer. ``image``: of the original picture. ``canvas``: of the
            padded network input, for the protocol ``res/padded-canvas`` alone, which then counts what is
            predicted inside the padding, as the released code does.
        without_mask: what to do about a sample without a mask where masks are the target: ``refuse`` it, or
            ``exclude`` it from the two losses (data sets with and without masks mixed).
        parts: what of the foreground is answered. ``all`` of it, as published, or only its ``largest``
            connected part, corners touching; not for objects that others cut in two.
    """

    def __init__(
        self,
        *,
        target: Literal["box", "mask"],
        focal_weight: float = 20.0,
        dice_weight: float = 2.0,
        mask_rule: Literal["upsampled", "published"] = "upsampled",
        metric_resolution: Literal["image", "canvas"] = "image",
        without_mask: Literal["refuse", "exclude"] = "refuse",
        parts: Literal["all", "largest"] = "all",
    ) -> None:
        super().__init__()
        self.target = require_choice("target", target, ("box", "mask"))
        self.mask_rule = require_choice("mask_rule", mask_rule, ("upsampled", "published"))
        self.metric_resolution = require_choice("metric_resolution", metric_resolution, ("image", "canvas"))
        self.without_mask = require_choice("without_mask", without_mask, ("refuse", "exclude"))
        self.parts = require_choice("parts", parts, ("all", "largest"))
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    @property
    def answers(self) -> bool:
        """Whether its masks are predictions."""
        return self.target == "mask"

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Mask logits ``(B, 1, h, w)`` float32 of the canvas."""

    def loss(self, features: Features, data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """``loss_seg_focal`` and ``loss_seg_dice`` over the samples with a target, coefficients included.

        Raises:
            MissingMaskError: a sample without a mask, and they are not excluded.
        """
        logits = self(features)
        masks = [self._target_mask(sample) for sample in data_samples]
        chosen = [index for index, mask in enumerate(masks) if mask is not None]
        if not chosen:
            return {"loss_seg_focal": logits.sum() * 0, "loss_seg_dice": logits.sum() * 0}
        # One byte per pixel on the way to the device; the losses make numbers of it there.
        target = torch.from_numpy(np.stack([mask for mask in masks if mask is not None]))[:, None]
        return self.losses(logits[chosen], target.to(logits.device))

    def losses(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Both losses of logits ``(B, 1, h, w)``, resized to the masks ``(B, 1, H, W)``, 0 or 1."""
        resized = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
        return {
            "loss_seg_focal": self.focal_weight * focal(resized, target),
            "loss_seg_dice": self.dice_weight * dice(resized, target),
        }

    def predict(self, features: Features, data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """One mask per sample, at the resolution of its original image unless the canvas was asked for."""
        masks = self.masks(self(features), [sample.frame for sample in data_samples])
        answers = [mask.cpu().numpy() for mask in masks]
        if self.parts == "largest":
            answers = [largest_part(answer) for answer in answers]
        return [
            Prediction(id=sample.id, mask=encode(answer))
            for sample, answer in zip(data_samples, answers, strict=True)
        ]

    def masks(self, logits: Tensor, frames: Sequence[Frame]) -> list[Tensor]:
        """The foreground ``(H, W)`` bool of every map ``(1, h, w)`` of logits, by `mask_rule`."""
        strength = (logits.sigmoid() - 0.5).relu() if self.mask_rule == "published" else logits
        if self.metric_resolution == "image":
            pairs = zip(strength, frames, strict=True)
            return [to_original_pixels(one, frame) > 0 for one, frame in pairs]
        return [
            F.interpolate(one[None], frame.canvas[::-1], mode="bilinear")[0, 0] > 0
            for one, frame in zip(strength, frames, strict=True)
        ]

    def _target_mask(self, sample: ReferringSample) -> np.ndarray | None:
        """``(H, W)`` uint8 on the canvas, 0 or 1, targets united; None where the sample is left out.

        A pixel belongs to a box that its centre lies in. The released code rasterises boxes in the original
        picture and resizes the result; borders may differ by a pixel of the canvas.
        """
        width, height = sample.frame.canvas
        if self.target == "box":
            return box_map([sample], (height, width), offset=0.5).reshape(height, width).astype(np.uint8)
        if sample.masks is not None:
            return np.asarray(sample.masks, np.uint8).max(axis=0, initial=0)
        if self.without_mask == "refuse":
            raise MissingMaskError(
                f"sample {sample.id!r} has no mask, and the mask head learns from masks: set with_masks=True "
                "at the data set (and without_mask='exclude' there to leave such records out), or "
                "without_mask='exclude' at the head to train on a mixture with sets that have none"
            )
        return None


def cells_to_map(cells: Tensor, grid: tuple[int, int], steps: int) -> Tensor:
    """Values of cells that were divided into 2 x 2 again and again, as a map.

    Args:
        cells: ``(B, rows * columns * 4 ** steps)``, the parts of a cell side by side, row-major at each
            step.
        grid: ``(rows, columns)`` before the first division.
        steps: number of divisions.

    Returns:
        ``(B, 1, rows * 2 ** steps, columns * 2 ** steps)``.
    """
    rows, columns = grid
    parts = cells.reshape(-1, rows, columns, *(2,) * (2 * steps))
    last = 3 + 2 * steps
    parts = parts.permute(0, 1, *range(3, last, 2), 2, *range(4, last, 2))
    return parts.reshape(-1, 1, rows << steps, columns << steps)


def to_original_pixels(logits: Tensor, frame: Frame) -> Tensor:
    """A map ``(1, h, w)`` over the canvas, bilinear, at the pixels of the original image: ``(H, W)``."""
    places = []
    for axis in (0, 1):
        centres = torch.arange(frame.original[axis], device=logits.device) + 0.5
        on_canvas = centres * frame.scale[axis] + frame.shift[axis]
        places.append(2 * on_canvas / frame.canvas[axis] - 1)
    columns, rows = torch.meshgrid(*places, indexing="xy")
    grid = torch.stack((columns, rows), dim=-1)[None].to(logits.dtype)
    return F.grid_sample(logits[None], grid, mode="bilinear", padding_mode="border", align_corners=False)[
        0, 0
    ]


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask ``(H, W)`` bool, corners touching; an empty mask stays empty."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count < 2:
        return mask
    return labels == 1 + np.bincount(labels.ravel())[1:].argmax()
