"""``refkit zoo``: models that ship with refkit, and released checkpoints turned into refkit models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command("list")
def list_models(
    head: Annotated[
        str | None,
        typer.Option("--head", help="Only models with this head ('box', 'mask'), one name per line."),
    ] = None,
) -> None:
    """List the models of the zoo; one without heads is a start for training and answers nothing.

    Example: refkit zoo list
    """
    from refkit.zoo.index import load_index

    models = {name: (entry, _heads(entry.weights)) for name, entry in sorted(load_index().items())}
    if head is not None:
        for name, (_, heads) in models.items():
            if head in heads:
                typer.echo(name)
        return
    table = Table(Column("name", no_wrap=True), "heads", Column("config", overflow="fold"), "MB")
    for name, (entry, heads) in models.items():
        size = f"{entry.weights.stat().st_size / 1e6:.1f}" if entry.weights.is_file() else "not here"
        table.add_row(name, ", ".join(heads), entry.config, size)
    Console().print(table)
    for folder in sorted({entry.weights.parent for entry, _ in models.values()}):
        typer.echo(f"weights in {folder}")


def _heads(weights: Path) -> list[str]:
    """Names of the heads that a weights file describes."""
    from refkit.zoo.weights import read_metadata

    model = read_metadata(weights).get("model") if weights.is_file() else None
    heads = model.get("heads") if isinstance(model, dict) else None
    return list(heads or {})


@app.command("import")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="The released checkpoint (.pth, .pt, .safetensors).")],
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            help="hivg, oneref, dynrefer; what they were trained from: hivg_clip, beit3, vqkd, blip2.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The model to write, ends in .safetensors.")],
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="HiVG with one text level: single (RefCOCO, Flickr30k) or mixed."),
    ] = None,
    published_batch_mixing: Annotated[
        bool,
        typer.Option(
            "--published-batch-mixing",
            help="HiVG: evaluate as the released code does; predictions then depend on the batch.",
        ),
    ] = False,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size", help="OneRef, BEiT-3, BLIP-2: pixels of a side; positions are resized to it."
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            help="OneRef: where beit3.spm is, DynRefer: FlanT5's spiece.model; the model names it.",
        ),
    ] = None,
    vision: Annotated[
        Path | None, typer.Option("--vision", help="DynRefer: eva_vit_g.pth, or clip_vit_L.pth for ViT-L.")
    ] = None,
    blip2: Annotated[
        Path | None,
        typer.Option("--blip2", help="DynRefer: blip2_pretrained_flant5xl.pth (…_vitL.pth for ViT-L)."),
    ] = None,
    language_model: Annotated[
        Path | None, typer.Option("--language-model", help="DynRefer: folder of google/flan-t5-xl.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option("--text", help="DynRefer: eva_clip_psz14.pt; for ViT-L a CLIP ViT-L/14."),
    ] = None,
    tags: Annotated[Path | None, typer.Option("--tags", help="DynRefer: ram_tag_list.txt.")] = None,
    ovad: Annotated[
        Path | None,
        typer.Option("--ovad", help="DynRefer: ovad2000.json, for names of attributes and classes."),
    ] = None,
) -> None:
    """Turn a released checkpoint into one self-contained model file; nothing in it is executed.

    Example: refkit zoo import best_checkpoint.pth --layout hivg --variant single --out hivg.safetensors
    """
    from refkit.zoo.published import import_file

    options = {
        "variant": variant,
        "published_batch_mixing": published_batch_mixing or None,
        "image_size": image_size,
        "tokenizer": tokenizer and str(tokenizer),
    }
    sources = {"vision": vision, "blip2": blip2, "language_model": language_model}
    sources |= {"text": text, "tags": tags, "ovad": ovad}
    options |= {name: str(path) for name, path in sources.items() if path is not None}
    config = import_file(file, layout, out, **options)
    _tell_what_to_do(config, layout, out)


def _tell_what_to_do(config: dict[str, Any], layout: str, out: Path) -> None:
    """What the model is for, and what was left out of it."""
    family = config["model"]["type"]
    part = "visual_tokenizer" if family == "VQKD" else "backbone"
    if family in ("HiVG", "OneRef") and "pipeline" in config:
        typer.echo(f'{out}: {family}; ask it with: refkit ground {out} PICTURE "a sentence"')
    elif layout == "blip2":
        typer.echo(f"{out}: a start for training, with --cfg-options load_from={out}")
    elif family == "DynRefer":
        typer.echo(f"{out}: {family}; ask it with: refkit describe PICTURE --model {out} --box L,T,R,B")
    else:
        typer.echo(f"{out}: a start for training, with --cfg-options model.{part}.weights={out}")
    if family == "VQKD":
        typer.echo("left out: decoder and statistics of the codebook, which only its own training reads")
