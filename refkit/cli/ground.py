"""``refkit ground``: one picture, one sentence, one answer."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refkit.cli.options import MODEL_HELP, Device, NumberFormat, Precision

if TYPE_CHECKING:
    import numpy as np

    from refkit.inference.inferencer import Inferencer
    from refkit.structures import Prediction


def command(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Picture.", show_default=False)],
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help='What to look for, such as "the left dog".', show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option(help=MODEL_HELP, show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The picture with the answer, .png or .jpg.")] = Path(
        "grounded.png"
    ),
    explain: Annotated[
        Path | None,
        typer.Option(
            help="Also draw what the model looked at, into this .png or .jpg (HiVG only).", show_default=False
        ),
    ] = None,
    mask: Annotated[
        bool,
        typer.Option("--mask", help="Insist on a mask: refuse a model that answers with boxes only."),
    ] = False,
    json_only: Annotated[bool, typer.Option("--json-only", help="Draw nothing.")] = False,
    device: Device = None,
    precision: Precision = NumberFormat.AUTO,
) -> None:
    """Find what a sentence means in one picture.

    Prints JSON: boxes as left, top, right, bottom in pixels of the picture, held upright, and the mask of a
    model that has one as COCO run lengths; the picture shows both.

    Example: refkit ground picture.png "the red circle" --model refshapes-hivg-tiny --out answer.png
    """
    from refkit.inference.drawing import picture_format
    from refkit.inference.question import check_expression, read_picture

    check_expression(text)
    pixels = read_picture(image)
    for picture in (None if json_only else out, explain):
        if picture is not None:
            picture_format(picture)
    with contextlib.redirect_stdout(sys.stderr):
        from refkit.inference.inferencer import load_model

        inferencer = load_model(model, device, precision.value)
        prediction = inferencer.ground(pixels, text)
        if mask:
            _require_mask(prediction, inferencer.name, pixels.shape[:2])
        explanation, fault = _explained(inferencer, pixels, text, explain)
    from refkit.leaderboard.schema import prediction_to_json

    answer = {
        "image": str(image),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "text": text,
        **{key: value for key, value in prediction_to_json(prediction).items() if key != "id"},
        "model": inferencer.name,
        "checkpoint": inferencer.checkpoint,
        "precision": inferencer.precision,
    }
    if not json_only:
        from PIL import Image

        from refkit.inference.drawing import Answer, captioned_answer, save_picture

        drawn = captioned_answer(Answer(Image.fromarray(pixels), text, prediction))
        answer["picture"] = str(save_picture(drawn, out))
    if explanation is not None:
        answer["explanation"] = str(explanation)
    typer.echo(json.dumps(answer))
    if fault is not None:
        raise fault


def _require_mask(prediction: Prediction, model: str, size: tuple[int, ...]) -> None:
    """Whether there is a mask of the picture, whose height and width is ``size``."""
    from refkit.inference.question import QuestionError

    if prediction.mask is None:
        raise QuestionError(
            f"the model {model!r} answers without a mask; --mask needs one that was trained with a mask head "
            "(MaskHead(target='mask') or CosineMaskHead)"
        )
    if prediction.mask["size"] != list(size):
        raise QuestionError(
            f"the model {model!r} answers with masks of its own canvas, for evaluation; set its mask head's "
            "metric_resolution='image'"
        )


def _explained(
    inferencer: Inferencer, pixels: np.ndarray, text: str, out: Path | None
) -> tuple[Path | None, Exception | None]:
    """Where the explanation was drawn, or why there is none; the answer stands without it."""
    from refkit.inference.explanation import ExplanationError

    if out is None:
        return None, None
    try:
        return _explain(inferencer, pixels, text, out), None
    except ExplanationError as error:
        return None, ExplanationError(f"--explain {out}: {error}")


def _explain(inferencer: Inferencer, pixels: np.ndarray, text: str, out: Path) -> Path:
    """Draw the explanation, with the validations that the logs beside the weights tell of."""
    from refkit.inference.drawing import save_picture
    from refkit.inference.explanation import explain
    from refkit.inference.explanation_sheet import explanation_sheet
    from refkit.inference.history import read_history

    explanation = explain(inferencer, pixels, text)
    history = read_history(inferencer.weights.parent)
    return save_picture(explanation_sheet(explanation, inferencer.name, history), out)
