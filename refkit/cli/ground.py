"""``refkit ground``: one picture, one sentence, one answer."""

from __future__ import annotations

import contextlib
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class NumberFormat(StrEnum):
    """What a model computes in; ``auto`` is bfloat16 on GPUs that have it, float32 elsewhere."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def command(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Picture.", show_default=False)],
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help='What to look for, such as "the left dog".', show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Name in the model zoo, weights file, checkpoint or work folder.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The picture with the answer, .png or .jpg.")] = Path(
        "grounded.png"
    ),
    json_only: Annotated[bool, typer.Option("--json-only", help="Draw nothing.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; a GPU if there is one.")] = None,
    precision: Annotated[NumberFormat, typer.Option(help="Number format.")] = NumberFormat.AUTO,
) -> None:
    """Find what a sentence means in one picture.

    Prints JSON: boxes as left, top, right, bottom in pixels of the picture, held upright.
    """
    from refkit.inference.question import check_expression, read_picture

    check_expression(text)
    pixels = read_picture(image)
    with contextlib.redirect_stdout(sys.stderr):
        from refkit.inference.inferencer import load_model

        inferencer = load_model(model, device, precision.value)
        prediction = inferencer.ground(pixels, text)
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

        picture = captioned_answer(Answer(Image.fromarray(pixels), text, prediction))
        answer["picture"] = str(save_picture(picture, out))
    typer.echo(json.dumps(answer))
