"""Finding and loading pictures: several accepted folder layouts, clear errors, never a silent substitute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

_COCO_2014 = re.compile(r"COCO_(?:train|val|test)2014_(\d{12})\.jpg")
_COCO_2017 = re.compile(r"(\d{12})\.jpg")
# Folders that owners and older toolkits put below the root that a user names.
_COCO_FOLDERS = ("train2014", "val2014", "train2017", "val2017")
_WRAPPERS = ("", "images", "coco", "mscoco/images", "other/images/mscoco/images")
_EIGHT_BIT_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"))


class ImageError(ValueError):
    """A picture is absent, unreadable or not the one that the record describes."""


def find_image(root: str | Path, file: str, record: str = "") -> Path:
    """The path of a picture below ``root``, under its own name or a layout that COCO users have.

    ``COCO_train2014_000000581282.jpg`` is also found as ``train2014/COCO_train2014_000000581282.jpg``,
    ``train2017/000000581282.jpg``, ``images/…`` and the like: the pictures of both releases are the same.

    Args:
        root: folder of pictures.
        file: path below it, as the record names it.
        record: id for the message.

    Raises:
        ImageError: found nowhere; the message lists where it was looked for.
    """
    found = next((path for path in _candidates(Path(root), file) if path.is_file()), None)
    if found is None:
        tried = [str(path) for path in _candidates(Path(root), file)]
        more = f" and {len(tried) - 4} more layouts" if len(tried) > 4 else ""
        raise ImageError(
            f"{_prefix(record)}picture {file!r} is not below {root}: tried {', '.join(tried[:4])}{more}. "
            "Name the folder that holds the pictures with --image-root (in Python and configs: image_root), "
            "or the data root above it with --data-root or REFKIT_DATA"
        )
    return found


def load_image(path: str | Path, record: str = "", size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a picture as ``(H, W, 3)`` uint8 RGB.

    EXIF orientation is ignored: annotations of COCO and its kin count pixels as they are stored.

    Args:
        path: of the file.
        record: id for messages.
        size: ``(width, height)`` that the record states; None to skip the comparison.

    Raises:
        ImageError: absent, truncated, not a picture, more than 8 bits per channel, or of another size.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in _EIGHT_BIT_MODES:
                raise ImageError(
                    f"{_prefix(record)}{path} has pixels of mode {picture.mode!r}; "
                    "convert it to 8 bits per channel first"
                )
            if size is not None and picture.size != tuple(size):
                raise ImageError(
                    f"{_prefix(record)}{path} is {picture.width} x {picture.height} pixels, the record says "
                    f"{size[0]} x {size[1]}: boxes would be misplaced. Use the original picture"
                )
            # Converting RGB to RGB would copy the whole picture.
            return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except FileNotFoundError as error:
        raise ImageError(f"{_prefix(record)}{path} does not exist") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{_prefix(record)}{path} is not a picture that Pillow can read") from error
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{_prefix(record)}{path} cannot be read ({error}); fetch it again") from error


def _candidates(root: Path, file: str) -> Iterator[Path]:
    name = Path(file).name
    yield root / file
    if name != file:
        yield root / name
    yield root / "images" / name
    match = _COCO_2014.fullmatch(name) or _COCO_2017.fullmatch(name)
    if match is None:
        return
    number = int(match[1])
    for wrapper in _WRAPPERS:
        for folder in _COCO_FOLDERS:
            year = folder[-4:]
            stem = f"COCO_{folder}_{number:012d}" if year == "2014" else f"{number:012d}"
            yield root / wrapper / folder / f"{stem}.jpg"
    yield root / f"{number:012d}.jpg"
    yield root / f"COCO_train2014_{number:012d}.jpg"


def _prefix(record: str) -> str:
    return f"record {record}: " if record else ""
