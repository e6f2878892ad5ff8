"""Ask a model of regions: what is in these boxes of a picture?

Example::

    inferencer = load_model("dynrefer.safetensors")
    (answer,) = describe(inferencer, "street.jpg", [[12, 30, 200, 180]], tasks=["caption"])
    answer.prediction.caption
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from refkit.data.collate import collate
from refkit.data.transforms.compose import Compose
from refkit.data.transforms.conversation import Conversation
from refkit.data.views import check_regions
from refkit.heads.vocabulary import Names
from refkit.inference.inferencer import Inferencer
from refkit.inference.question import Picture, QuestionError, read_picture
from refkit.models.dynrefer import DynRefer
from refkit.structures import Frame, Prediction, ReferringSample


@dataclass(frozen=True, slots=True)
class Description:
    """What was said about one region.

    Attributes:
        box: four numbers, xyxy in pixels of the upright picture: the box asked for, clipped to the picture.
        ratios: of the views that the model was shown, in its order.
        prediction: tags, attributes, categories and caption, as far as they were asked for.
    """

    box: tuple[float, ...]
    ratios: tuple[float, ...]
    prediction: Prediction


def describe(
    inferencer: Inferencer,
    image: Picture,
    boxes: Sequence[Sequence[float]] | np.ndarray,
    tasks: Sequence[str] | None = None,
    words: Sequence[str] = (),
    batch_size: int = 16,
    question: str = "",
    names: Mapping[str, Names] | None = None,
) -> list[Description]:
    """What a model says about regions of one picture, in order.

    Args:
        inferencer: of a `DynRefer`.
        image: a file, a PIL image, or ``(H, W, 3)`` uint8 RGB. Files are turned upright (EXIF).
        boxes: ``(R, 4)`` xyxy in pixels of the upright picture.
        tasks: out of `refkit.models.dynrefer.TASKS`, by default those of the model.
        words: control words that captions are to speak about, behind the tags that the model finds.
        batch_size: regions per forward pass; views that several of them share are encoded once.
        question: about every region, to a model that was trained to answer some (`Conversation` in its
            pipeline); the answer is the caption.
        names: by recognition task, what to recognise from now on instead of what the model was saved with,
            see `DynRefer.set_vocabulary`: names alone keep the prompts that the model knows for them.

    Raises:
        QuestionError: a model that does not describe regions, no boxes, a question to a model that takes
            none, or no question to one that does.
        RegionError: a box that is not finite, is reversed, has no area or lies outside the picture.
        TaskError: a task that the model has no head for.
        VocabularyError, TokenizerError: names that nothing can be recognised by.
        ImageError: the file is missing or cannot be read.
    """
    model = _region_model(inferencer)
    pixels = read_picture(image)
    size = pixels.shape[1], pixels.shape[0]
    if not len(boxes):
        raise QuestionError("no boxes: say which regions to describe")
    regions = check_regions(np.asarray(boxes, np.float64), *size)
    transforms = Compose(list(inferencer.pipeline))
    _check_question(inferencer.name, transforms, question)
    inside = np.clip(regions, 0, np.tile(size, 2))
    told: list[Description] = []
    for task, given in (names or {}).items():
        model.set_vocabulary(task, given)
    starts = range(0, len(regions), batch_size)
    for start in tqdm(starts, "describe", unit_scale=batch_size, unit=" regions", delay=2.0, leave=False):
        rows = range(start, min(start + batch_size, len(regions)))
        samples = [_sample(row, regions[row], pixels, words, question) for row in rows]
        shown = [
            transforms(sample, np.random.default_rng((0, 0, row)))
            for row, sample in zip(rows, samples, strict=True)
        ]
        batch = model.data_preprocessor(collate(shown, share=True), False)
        with inferencer.inference():
            answers = model.predict(batch["inputs"], batch["data_samples"], tasks)
        told += [
            Description(tuple(inside[row].tolist()), tuple(sample.extras["ratios"].tolist()), answer)
            for row, sample, answer in zip(rows, shown, answers, strict=True)
        ]
    return told


def read_boxes(path: str | Path) -> np.ndarray:
    """Boxes ``(R, 4)`` of a JSON file: a list of ``[left, top, right, bottom]`` in pixels.

    Raises:
        QuestionError: no such file, or another content.
    """
    try:
        boxes = np.asarray(json.loads(Path(path).read_text(encoding="utf-8")), np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise QuestionError(f"{path}: no readable list of boxes ({error})") from error
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise QuestionError(
            f"{path}: expected a list of [left, top, right, bottom], found an array {boxes.shape}"
        )
    return boxes


def read_names(text: str) -> tuple[str, Names]:
    """Task and names of ``task=name,name,…`` or ``task=FILE`` (.txt with a name per line, or .json).

    Raises:
        QuestionError: no ``=``, or an empty side of it.
    """
    task, equals, given = (part.strip() for part in text.partition("="))
    if not (task and equals and given):
        raise QuestionError(f"--names {text}: expected task=name,name,… or task=FILE, as categories=cat,dog")
    file = Path(given)
    if file.suffix in (".txt", ".json"):
        return task, file
    return task, [name.strip() for name in given.split(",")]


def _region_model(inferencer: Inferencer) -> DynRefer:
    model = inferencer.model
    if not isinstance(model, DynRefer):
        raise QuestionError(
            f"the model {inferencer.name!r} ({type(model).__name__}) does not describe regions; ask it with "
            "'refkit ground'"
        )
    return model


def _check_question(name: str, transforms: Compose, question: str) -> None:
    asks = any(isinstance(transform, Conversation) for transform in transforms.transforms)
    if asks and not question.strip():
        raise QuestionError(f"the model {name!r} answers questions about regions: ask one (--ask)")
    if question and not asks:
        raise QuestionError(
            f"the model {name!r} takes no questions; what its captions speak about is led by words (--word)"
        )


def _sample(
    row: int, box: np.ndarray, pixels: np.ndarray, words: Sequence[str], question: str
) -> ReferringSample:
    frame = Frame.identity(pixels.shape[1], pixels.shape[0])
    meta = {"control_words": list(words)}
    return ReferringSample(str(row), question, frame, pixels, box[None].astype(np.float32), meta=meta)
