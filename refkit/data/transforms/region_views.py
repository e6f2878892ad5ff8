"""The transform that shows a model views of a region in place of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from refkit.data.arguments import require_choice, require_length
from refkit.data.transforms.primitives import canvas_image
from refkit.data.view_selection import ViewSelection, build_selection
from refkit.data.views import (
    RegionError,
    check_regions,
    crop_boxes,
    cut_views,
    regions_in_views,
    widened,
)
from refkit.registry import TRANSFORMS
from refkit.structures import ReferringSample


@TRANSFORMS.register_module()
class RegionViews:
    """Cuts views of the sample's region; stands last, on the picture in its original size.

    Extras, with ``V`` views of side ``S``: ``views (V, 3, S, S)`` uint8; ``regions (V, 4)`` float32, the
    region inside every view, xyxy pixels of the view; ``ratios (V,)`` float32.

    Args:
        views: ``V``.
        side: ``S`` in pixels.
        selection: ``"random"`` for training; ``"image_prior"``, a list of ratios and more for inference, see
            `refkit.data.view_selection.build_selection`.
        keep_image: keep the picture in the sample. Models of regions do not look at it, and batches without
            it are small.
        several: of a sample with several boxes ``enclose`` shows the smallest box around all of them, for
            questions about more than one region; ``refuse`` takes no such sample.
    """

    def __init__(
        self,
        views: int = 3,
        side: int = 224,
        selection: str | Sequence[float] | Mapping[str, Any] | ViewSelection = "image_prior",
        keep_image: bool = False,
        several: Literal["refuse", "enclose"] = "refuse",
    ) -> None:
        if views < 1:
            raise ValueError(f"views={views}: expected at least 1")
        self.views = views
        self.side = require_length("side", side)
        self.selection = build_selection(selection)
        self.keep_image = keep_image
        self.several = require_choice("several", several, ("refuse", "enclose"))

    def __call__(self, sample: ReferringSample, rng: np.random.Generator) -> ReferringSample:
        """The sample with its views.

        Raises:
            RegionError: there is no box, there are several (see above), or one has no pixel of the picture.
        """
        image = canvas_image(sample)
        try:
            box = self._region(check_regions(sample.boxes, image.shape[1], image.shape[0]))
            made = view_arrays(image, box, self.views, self.selection, rng, self.side)
        except RegionError as error:
            raise RegionError(f"record {sample.id}: {error}") from error
        extras = {**sample.extras, **{name: array[0] for name, array in made.items()}}
        return replace(sample, image=image if self.keep_image else None, extras=extras)

    def _region(self, boxes: np.ndarray) -> np.ndarray:
        """The one box ``(1, 4)`` of a sample."""
        if len(boxes) > 1 and self.several == "enclose":
            return np.concatenate((boxes[:, :2].min(0), boxes[:, 2:].max(0)))[None]
        if len(boxes) != 1:
            raise RegionError(
                f"views are cut of one region, the sample has {len(boxes)} boxes; leave such records out, or "
                'take several="enclose"'
            )
        return boxes


def view_arrays(
    image: np.ndarray,
    boxes: np.ndarray,
    views: int,
    selection: ViewSelection,
    rng: np.random.Generator,
    side: int = 224,
) -> dict[str, np.ndarray]:
    """Views of all regions of one picture, as arrays by name.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        boxes: ``(R, 4)`` xyxy pixels.
        views: ``V`` per region.
        selection: chooses them.
        rng: source of all randomness.
        side: ``S`` of a view, in pixels.

    Returns:
        ``views (R, V, 3, S, S)`` uint8, ``regions (R, V, 4)`` float32 and ``ratios (R, V)`` float32.

    Raises:
        RegionError: a box without a pixel of the picture.
    """
    size = image.shape[1], image.shape[0]
    regions = widened(check_regions(boxes, *size), *size)
    ratios = selection.choose(image, regions, views, rng)
    crops = crop_boxes(regions, ratios, size)
    pixels = cut_views(image, crops.reshape(-1, 4), side)
    return {
        "views": pixels.reshape(*crops.shape[:2], 3, side, side),
        "regions": regions_in_views(regions, crops, size, side),
        "ratios": ratios.astype(np.float32),
    }
