"""Arguments and options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from refkit.inference.methods import method_names


class NumberFormat(StrEnum):
    """What a model computes in; ``auto`` is bfloat16 on GPUs that have it, float32 elsewhere."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


MODEL_HELP = "Name in the model zoo, weights file, checkpoint or work folder."

_METHODS = ", ".join(f"hf:{name}" for name in method_names())
_PEER_WEIGHTS = "a folder as transformers saves it, or a name of the Hugging Face hub."

ConfigName = Annotated[str, typer.Argument(help="Config file, or its name relative to configs/.")]
Overrides = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Override a setting; repeat for several.")
]
Launcher = Annotated[str, typer.Option(help="auto, none, pytorch, slurm or mpi.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; a GPU if there is one.")]
Precision = Annotated[NumberFormat, typer.Option(help="Number format.")]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder that relative data paths start from [REFKIT_DATA, data].")
]
ImageRoot = Annotated[Path | None, typer.Option(help="Folder of the pictures, instead of the header's.")]
MethodName = Annotated[
    str | None,
    typer.Option(help=f"Instead of --model, a method of another library: {_METHODS}.", show_default=False),
]
MethodWeights = Annotated[
    str | None, typer.Option(help=f"Weights of --method: {_PEER_WEIGHTS}", show_default=False)
]
MethodSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of --method, or refine.KEY of --refine; repeat for several.",
        show_default=False,
    ),
]
Refine = Annotated[str | None, typer.Option(help="Turn boxes into masks with this: sam.", show_default=False)]
RefineWeights = Annotated[
    str | None, typer.Option(help=f"Weights of --refine: {_PEER_WEIGHTS}", show_default=False)
]
