"""``refkit predict``: a records file in, a prediction file out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from refkit.cli.options import (
    MODEL_HELP,
    DataRoot,
    Device,
    ImageRoot,
    MethodName,
    MethodSettings,
    MethodWeights,
    NumberFormat,
    Precision,
    Refine,
    RefineWeights,
)


def command(
    records: Annotated[
        Path,
        typer.Argument(metavar="RECORDS", help="Records file (.jsonl or .jsonl.gz).", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Prediction file, X.predictions.jsonl.", show_default=False)],
    model: Annotated[str | None, typer.Option(help=MODEL_HELP, show_default=False)] = None,
    method: MethodName = None,
    weights: MethodWeights = None,
    settings: MethodSettings = None,
    refine: Refine = None,
    refine_weights: RefineWeights = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Records per forward pass.")] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load pictures.")] = 0,
    shard: Annotated[
        str, typer.Option(help="Answer this part of the file only: 0/2 is the first of two.")
    ] = "0/1",
    merge: Annotated[
        bool, typer.Option("--merge", help="Join the finished shards of --out; no model.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Answer the first records only.")] = None,
    data_root: DataRoot = None,
    image_root: ImageRoot = None,
    page: Annotated[
        Path | None, typer.Option(help="Also draw answers beside the truth into this .png.")
    ] = None,
    page_count: Annotated[int, typer.Option(min=1, help="How many answers on that page.")] = 24,
    device: Device = None,
    precision: Precision = NumberFormat.AUTO,
) -> None:
    """Answer every record of a file with a model or a method; resumable.

    Several machines or processes share the work with --shard; afterwards --merge joins what they wrote.

    Example: refkit predict refshapes.val.jsonl --model refshapes-hivg-tiny --out val.predictions.jsonl

    Example: refkit predict refcoco.unc.val.jsonl --method hf:grounding-dino --weights
    IDEA-Research/grounding-dino-tiny --set threshold=0.1 --out val.predictions.jsonl
    """
    from refkit.data.record_file import RecordFile
    from refkit.inference.shards import Shard, merge_shards

    part, file = Shard.parse(shard), RecordFile(records)
    written = part.path(out)
    if merge:
        merge_shards(records, out)
        written = out
    else:
        from refkit.inference.peers.choice import Choice
        from refkit.inference.prediction_run import PredictionRun

        choice = Choice(
            model, method, weights, tuple(settings or ()), refine, refine_weights, device, precision.value
        )
        run = PredictionRun(
            batch_size, workers, part, limit, resume, image_root, data_root, progress=sys.stderr.isatty()
        )
        run.execute(choice.load(), file, out)
    if page is not None:
        from refkit.inference.page import draw_prediction_page

        draw_prediction_page(file, written, page, page_count, image_root=image_root, data_root=data_root)
    typer.echo(str(written))
