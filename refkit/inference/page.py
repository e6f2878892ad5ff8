"""A page of predictions from files: records, predictions and pictures, drawn together.

Captions of regions stand beside what people said, everything else is drawn onto the pictures.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from refkit.data.files import data_root as resolve_data_root
from refkit.data.images import find_image, load_image
from refkit.data.record_file import RecordFile
from refkit.data.schema import Record
from refkit.inference.caption_page import CaptionedRegion, caption_page
from refkit.inference.drawing import Answer, DrawingError, answer_page, save_picture
from refkit.leaderboard.predictions import load_predictions
from refkit.structures import Prediction


def draw_prediction_page(
    records: RecordFile,
    predictions: str | os.PathLike[str],
    out: str | os.PathLike[str],
    count: int = 24,
    seed: int = 0,
    image_root: Path | None = None,
    data_root: Path | None = None,
) -> Path:
    """Draws answers chosen at random beside the truth.

    Args:
        records: what was asked.
        predictions: a prediction file for it.
        out: a ``.png`` or ``.jpg`` file.
        count: how many answers at most.
        seed: of the choice.
        image_root: folder of the pictures; by default the one that the records name, below ``data_root``.
        data_root: by default ``REFKIT_DATA``, else ``data``.

    Returns:
        The picture written.

    Raises:
        DrawingError: nothing to draw, or another ending of ``out``.
        ImageError: a picture is absent or not the one described.
    """
    file = load_predictions(predictions)
    folder = image_root or resolve_data_root(data_root) / records.header.image_root
    answered = [position for position, record in enumerate(records) if record.id in file.predictions]
    if not answered:
        raise DrawingError(f"{predictions}: answers no record of {records.path}.")
    chosen = np.random.default_rng(seed).choice(answered, min(count, len(answered)), replace=False)
    shown = [records[position] for position in sorted(chosen.tolist())]
    found = [(record, file.in_pixels(file.predictions[record.id], *_size(record))) for record in shown]
    title = f"{file.header.model} on {records.header.name}"
    if all(_is_captioned(record) for record in shown):
        return save_picture(caption_page([_region(*pair, folder) for pair in found], title), out)
    return save_picture(answer_page([_answer(*pair, folder) for pair in found], title), out)


def _size(record: Record) -> tuple[int, int]:
    return record.image.width, record.image.height


def _is_captioned(record: Record) -> bool:
    """Whether words about one region are asked for: there are references, and no sentence that was asked."""
    one_region = len(record.targets) == 1 and record.targets[0].box is not None
    return bool(record.references) and not record.text and one_region


def _picture(record: Record, folder: Path) -> Image.Image:
    path = find_image(folder, record.image.file, record.id)
    return Image.fromarray(load_image(path, record.id, _size(record)))


def _region(record: Record, prediction: Prediction, folder: Path) -> CaptionedRegion:
    box = record.targets[0].box
    assert box is not None
    return CaptionedRegion(_picture(record, folder), box, prediction, record.references or ())


def _answer(record: Record, prediction: Prediction, folder: Path) -> Answer:
    boxes = [target.box for target in record.targets if target.box is not None]
    masks = [target.mask for target in record.targets if target.mask is not None]
    truth = np.asarray(boxes, np.float64).reshape(-1, 4)
    return Answer(_picture(record, folder), record.text or "", prediction, truth, masks)
