"""``refkit describe``: what is in these boxes of a picture?"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refkit.cli.options import MODEL_HELP, Device, NumberFormat, Precision

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from refkit.inference.describing import Description


def command(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Picture.", show_default=False)],
    model: Annotated[str, typer.Option(help=MODEL_HELP, show_default=False)],
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="L,T,R,B", help="A region in pixels; repeat for several.", show_default=False),
    ] = None,
    all_boxes: Annotated[
        Path | None,
        typer.Option(help=r"JSON file with a list of \[left, top, right, bottom].", show_default=False),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="tags, attributes, categories or caption; repeat for several, all by default.",
            show_default=False,
        ),
    ] = None,
    word: Annotated[
        list[str] | None,
        typer.Option(help="What captions are to speak about; repeat for several.", show_default=False),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=NAMES",
            help="What to recognise, as categories=circle,star: names between commas, or a .txt or .json "
            "file of names; repeat for several tasks. Names that the model has keep its prompts, "
            "others are asked for as they are; a .json file can give prompts.",
            show_default=False,
        ),
    ] = None,
    ask: Annotated[
        str, typer.Option(help="A question about every region, to a model that answers some.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The picture with the answers, .png or .jpg.")] = Path(
        "described.png"
    ),
    show_views: Annotated[
        bool, typer.Option("--show-views", help="Draw which views of the regions the model was shown.")
    ] = False,
    json_only: Annotated[bool, typer.Option("--json-only", help="Draw nothing.")] = False,
    device: Device = None,
    precision: Precision = NumberFormat.AUTO,
) -> None:
    """Say what is in regions of one picture: caption, tags, attributes, category, with scores.

    Prints JSON: boxes as left, top, right, bottom in pixels of the picture, held upright, clipped to it.

    Example: refkit describe picture.png --model refshapes-dynrefer-tiny --box 35,45,55,63 --out answer.png
    """
    from refkit.inference.drawing import picture_format
    from refkit.inference.question import read_picture

    regions = _boxes(box or [], all_boxes)
    pixels = read_picture(image)
    if not json_only:
        picture_format(out)
    with contextlib.redirect_stdout(sys.stderr):
        from refkit.inference.describing import describe, read_names
        from refkit.inference.inferencer import load_model

        wanted = dict(read_names(text) for text in names or ())
        inferencer = load_model(model, device, precision.value)
        told = describe(inferencer, pixels, regions, task, word or (), question=ask, names=wanted)
    _tell_of_clipping(regions, told, pixels)
    answer: dict[str, Any] = {"image": str(image), "width": pixels.shape[1], "height": pixels.shape[0]}
    answer["regions"] = [_as_json(each) for each in told]
    answer |= {"model": inferencer.name, "checkpoint": inferencer.checkpoint}
    answer["precision"] = inferencer.precision
    if not json_only:
        from refkit.inference.drawing import save_picture

        answer["picture"] = str(save_picture(_drawn(pixels, told, show_views), out))
    typer.echo(json.dumps(answer))


def _boxes(texts: list[str], file: Path | None) -> list[list[float]]:
    from refkit.inference.question import QuestionError

    boxes = []
    for text in texts:
        try:
            boxes.append([float(number) for number in text.split(",")])
        except ValueError:
            boxes.append([])
        if len(boxes[-1]) != 4:
            raise QuestionError(f"--box {text}: expected left,top,right,bottom in pixels, as 12,30,200,180")
    if file is not None:
        from refkit.inference.describing import read_boxes

        boxes += read_boxes(file).tolist()
    if not boxes:
        raise QuestionError("which region? Give --box left,top,right,bottom or --all-boxes FILE")
    return boxes


def _tell_of_clipping(asked: list[list[float]], told: list[Description], pixels: np.ndarray) -> None:
    """One line on stderr if boxes reach beyond the picture."""
    pairs = zip(asked, told, strict=True)
    clipped = [(box, list(each.box)) for box, each in pairs if box != list(each.box)]
    if clipped:
        box, inside = clipped[0]
        typer.echo(
            f"{len(clipped)} of {len(asked)} boxes reach beyond the picture of {pixels.shape[1]} x "
            f"{pixels.shape[0]} and were clipped to it: {box} to {inside}{', …' * (len(clipped) > 1)}",
            err=True,
        )


def _as_json(told: Description) -> dict[str, Any]:
    from refkit.leaderboard.schema import prediction_to_json

    fields = prediction_to_json(told.prediction)
    fields = {name: value for name, value in fields.items() if name not in ("id", "boxes", "scores")}
    if told.prediction.scores is not None:
        fields["caption_score"] = float(told.prediction.scores[0])
    return {"box": list(told.box), "views": list(told.ratios), **fields}


def _drawn(pixels: np.ndarray, told: list[Description], show_views: bool) -> Image.Image:
    from PIL import Image

    from refkit.inference.view_drawing import draw_regions, draw_views, views_page

    picture, texts = Image.fromarray(pixels), [_summary(each) for each in told]
    if not show_views:
        return draw_regions(picture, [each.box for each in told], texts)
    strips = zip(told, texts, strict=True)
    return views_page([draw_views(picture, each.box, each.ratios, text) for each, text in strips])


def _summary(told: Description) -> str:
    """The caption, the likeliest class, attributes and tags, as far as they were asked for, each named."""
    prediction = told.prediction
    caption = f'"{prediction.caption}"' if prediction.caption else ""
    if prediction.status == "failed":
        caption = "(nothing was written)"
    categories = prediction.categories or {}
    ranked = sorted((prediction.attributes or {}).items(), key=lambda pair: -pair[1])[:3]
    parts = {
        "caption": caption,
        "class": max(categories, key=lambda name: categories[name], default=""),
        "attributes": ", ".join(f"{name} {score:.2f}" for name, score in ranked),
        "tags": ", ".join(list(prediction.tags or {})[:5]),
    }
    return "; ".join(f"{name} {part}" for name, part in parts.items() if part)
