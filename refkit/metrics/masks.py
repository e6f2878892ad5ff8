"""Areas of masks that are kept as run lengths, and the masks of records and predictions.

Masks are COCO compressed RLE of the original image and are never decoded here; every one is checked before
pycocotools sees it. None stands for "no mask".
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.protocol import AnswerError, Column, ProtocolError
from refkit.rle import mask_fault

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

RLE = Mapping[str, Any]
Floats = NDArray[np.float64]


def checked(mask: RLE, record: Record, what: str, error: type[ValueError] = ProtocolError) -> RLE:
    """A mask that covers the image of its record exactly.

    Raises:
        ValueError: (``error``) another size than the image's, or runs that do not add up to it.
    """
    fault = mask_fault(mask, record.image.height, record.image.width)
    if fault:
        raise error(
            f"{what} of {record.id!r}: mask.{fault[0]}: {fault[1]}; masks are those of the original image"
        )
    return mask


def predicted_mask(record: Record, prediction: Prediction | None, canvas: int = 0) -> RLE | None:
    """The mask of an answer; None where there is no answer, or one without a mask.

    Args:
        record: what was asked.
        prediction: the answer.
        canvas: a mask of this height and width, in pixels, is taken as well as one of the image; 0 = none.

    Raises:
        AnswerError: the mask is not one of this image.
    """
    if prediction is None or prediction.mask is None or prediction.status != "ok":
        return None
    mask = prediction.mask
    if canvas and mask.get("size") == [canvas, canvas] and mask_fault(mask, canvas, canvas) is None:
        return mask
    return checked(mask, record, "the prediction", AnswerError)


def target_masks(record: Record) -> list[RLE]:
    """The masks of all targets; none for an expression that means nothing in the image.

    Raises:
        ProtocolError: a target without a mask, or a mask that is not one of this image.
    """
    masks = [target.mask for target in record.targets if target.mask is not None]
    if len(masks) != len(record.targets):
        raise ProtocolError(f"record {record.id!r} has a target without a mask; import the set with masks")
    return [checked(mask, record, "the annotation") for mask in masks]


def unite(masks: Sequence[RLE]) -> RLE | None:
    """One mask of everything that any of the masks covers."""
    from pycocotools import mask as coco

    if len(masks) < 2:
        return masks[0] if masks else None
    return coco.merge(list(masks))


def area(mask: RLE | None) -> int:
    """Number of pixels."""
    from pycocotools import mask as coco

    return 0 if mask is None else int(coco.area(dict(mask)))


def intersection(*masks: RLE | None) -> RLE | None:
    """What all masks cover; None where one of them is None."""
    from pycocotools import mask as coco

    present = [mask for mask in masks if mask is not None]
    return coco.merge(present, intersect=True) if len(present) == len(masks) else None


def overlap(predicted: RLE | None, truth: RLE | None) -> tuple[int, int]:
    """Pixels of intersection and union."""
    common = area(intersection(predicted, truth))
    return common, area(predicted) + area(truth) - common


class Overlaps:
    """Intersections and unions of ``n`` expressions, collected one by one."""

    def __init__(self) -> None:
        self._pixels = array("d")
        self._invalid = array("b")

    def add(self, common: float, united: float, invalid: bool) -> None:
        """One expression; ``invalid`` where it was answered without a mask."""
        self._pixels.extend((common, united))
        self._invalid.append(invalid)

    @property
    def intersections(self) -> Floats:
        """``(n,)`` pixels."""
        return np.array(self._pixels).reshape(-1, 2)[:, 0]

    @property
    def unions(self) -> Floats:
        """``(n,)`` pixels."""
        return np.array(self._pixels).reshape(-1, 2)[:, 1]

    @property
    def invalid(self) -> NDArray[np.bool_]:
        """``(n,)`` bool."""
        return np.array(self._invalid, bool)

    def overall(self) -> Column:
        """Sum of intersections over sum of unions."""
        return Column(self.intersections, self.unions)


def ratio(common: Floats, united: Floats, empty: float = 0.0, eps: float = 0.0) -> Floats:
    """``(n,)`` IoU = I / (U + eps), and ``empty`` where the union is empty."""
    return np.divide(common, united + eps, out=np.full_like(united, empty), where=united > 0)
