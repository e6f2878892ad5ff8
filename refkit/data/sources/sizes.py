"""Image sizes for sources that do not carry them: from a file, a folder of annotations, or the pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from refkit.data.sources.readfile import read_json, read_json_lines, read_text
from refkit.data.sources.spec import SourceError

Size = tuple[int, int]


class ImageSizes:
    """Width and height by file name.

    Args:
        path: one of: a folder of pictures (their headers are read), a folder of Flickr30k ``.xml``
            annotations, COCO-style JSON (``instances.json``), ReferItGame's ``referit_imsize.json``, a refkit
            records file.

    Raises:
        SourceError: the path is none of these.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise SourceError(
                f"{path} does not exist; expected a folder of pictures or a file with image sizes."
            )
        self._folder = path if path.is_dir() else None
        self._known: dict[str, Size] = {} if path.is_dir() else _read_sizes(path)

    def __getitem__(self, file: str) -> Size:
        """Width and height in pixels.

        Raises:
            KeyError: the picture is not there.
        """
        name = Path(file).name
        if name not in self._known:
            if self._folder is None:
                raise KeyError(name)
            self._known[name] = _from_folder(self._folder, name)
        return self._known[name]


def _from_folder(folder: Path, name: str) -> Size:
    annotation = (folder / name).with_suffix(".xml")
    if annotation.is_file():
        from refkit.data.sources.flickr30k import parse_annotation

        return parse_annotation(read_text(annotation))[:2]
    if not (folder / name).is_file():
        raise KeyError(name)
    from PIL import Image

    with Image.open(folder / name) as picture:
        return picture.size


def _read_sizes(path: Path) -> dict[str, Size]:
    try:
        if path.suffix in (".jsonl", ".gz"):
            return dict(_line_sizes(entry) for _, entry in read_json_lines(path) if "image" in entry)
        data = read_json(path, dict)
        if "images" in data:
            return {
                Path(entry["file_name"]).name: _size(entry["width"], entry["height"])
                for entry in data["images"]
            }
        return {name: _size(*pair) for name, pair in data.items()}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{path} holds no image sizes; expected COCO's layout, {{file: [width, height]}}, or records."
        ) from error


def _line_sizes(entry: dict[str, Any]) -> tuple[str, Size]:
    image = entry["image"]
    holder, file = (image, image["file"]) if isinstance(image, dict) else (entry, image)
    return Path(file).name, _size(holder["width"], holder["height"])


def _size(width: Any, height: Any, *rest: Iterable[Any]) -> Size:
    if rest:
        raise ValueError("more than width and height")
    return int(width), int(height)
