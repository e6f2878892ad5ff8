"""Boxes and masks on their way from a source's convention into records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pycocotools import mask as coco_mask

from refkit.rle import mask_fault

Box = tuple[float, float, float, float]

TOLERANCE = 1.0
"""Pixels by which published boxes stick out of their image (rounding, inclusive corners)."""


class GeometryError(ValueError):
    """A box or mask that its source's convention does not allow; the text is the reason."""


def four_numbers(values: Iterable[Any]) -> Box:
    """Four finite floats from a list, tuple, array or tensor.

    Raises:
        GeometryError: there are not four, or one is not finite.
    """
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise GeometryError("the box does not hold four numbers") from error
    if len(numbers) != 4 or any(number - number != 0 for number in numbers):
        raise GeometryError("the box does not hold four finite numbers")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def from_xywh(values: Iterable[Any]) -> Box:
    """``x, y, width, height`` to xyxy; rounded at the sixth decimal, where only float noise is."""
    x, y, width, height = four_numbers(values)
    return x, y, round(x + width, 6), round(y + height, 6)


def from_inclusive(values: Iterable[Any]) -> Box:
    """Inclusive pixels ``xmin, ymin, xmax, ymax`` to xyxy: the last pixel belongs to the box."""
    left, top, right, bottom = four_numbers(values)
    return left, top, right + 1, bottom + 1


def check_box(box: Box, width: int, height: int) -> None:
    """Refuse a box without area or outside its image.

    Raises:
        GeometryError: with the reason.
    """
    if box[2] <= box[0] or box[3] <= box[1]:
        raise GeometryError("the box has no area (right > left and bottom > top expected)")
    inside = (
        min(box[0], box[1]) >= -TOLERANCE and box[2] <= width + TOLERANCE and box[3] <= height + TOLERANCE
    )
    if not inside:
        raise GeometryError("the box leaves its image")


def unite(segmentation: Any, width: int, height: int) -> dict[str, Any] | None:
    """One compressed RLE of all parts of an object.

    The parts are united. The REFER API adds them instead, so that an overlap counts twice and code that
    compares with 1 loses it.

    Args:
        segmentation: polygons ``[[x, y, …], …]``, one RLE, a list of RLEs (RefCLEF), or nothing.
        width: of the image, in pixels.
        height: of the image, in pixels.

    Returns:
        ``{"size": [height, width], "counts": str}``, or None without parts.

    Raises:
        GeometryError: a polygon with fewer than three points, or an RLE of another size.
    """
    if not segmentation:
        return None
    parts = [segmentation] if isinstance(segmentation, dict) else segmentation
    if not isinstance(parts, list | tuple):
        raise GeometryError("the segmentation is neither a list of polygons nor RLE")
    rles = [_encode(part, width, height) for part in parts]
    united = rles[0] if len(rles) == 1 else coco_mask.merge(rles)
    return {"size": [height, width], "counts": united["counts"].decode("ascii")}


def _encode(part: Any, width: int, height: int) -> dict[str, Any]:
    if isinstance(part, dict):
        if list(part.get("size", ())) != [height, width]:
            raise GeometryError(f"the mask has size {part.get('size')}, its image [{height}, {width}]")
        return _checked_rle(part.get("counts"), width, height)
    # pycocotools reads a list of four numbers as a box, without a word.
    if not isinstance(part, list | tuple) or len(part) < 6 or len(part) % 2:
        raise GeometryError("a polygon does not hold at least three points")
    return dict(coco_mask.frPyObjects([[float(value) for value in part]], height, width)[0])


def _checked_rle(counts: Any, width: int, height: int) -> dict[str, Any]:
    """An RLE whose runs cover the image exactly: pycocotools reads past its memory otherwise."""
    size = [height, width]
    if isinstance(counts, list):
        if any(not isinstance(run, int) or run < 0 for run in counts) or sum(counts) != width * height:
            raise GeometryError("the runs of the mask do not cover its image")
        return dict(coco_mask.frPyObjects({"size": size, "counts": counts}, height, width))
    text = counts.decode("latin1") if isinstance(counts, bytes) else counts
    fault = mask_fault({"size": size, "counts": text}, height, width)
    if fault:
        raise GeometryError(f"the mask's {fault[0]}: {fault[1]}")
    return {"size": size, "counts": text.encode("ascii")}
