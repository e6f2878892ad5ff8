"""Where a model comes from: a name of the zoo, a weights file, a checkpoint, or a work folder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from refkit.engine.checkpoint import find_resumable
from refkit.zoo.index import ModelIndexError, find_model

_log = logging.getLogger(__name__)


class ModelSourceError(ValueError):
    """A model was asked for that is neither a name of the zoo nor a usable file or folder."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """The files of a model.

    Attributes:
        name: what a prediction file calls it.
        weights: ``.safetensors`` with the config inside, or a training checkpoint ``.pth``.
        config: the training config; None where the weights file carries it.
    """

    name: str
    weights: Path
    config: Path | None = None


def locate_model(model: str | Path) -> ModelSource:
    """Finds the files behind what a user typed as a model.

    Args:
        model: a name of the zoo, a ``.safetensors`` file, a checkpoint ``.pth`` beside its config, or a work
            folder. An existing file or folder goes before a name.

    Raises:
        ModelSourceError: if nothing usable is there; says what was looked for and the nearest name.
    """
    path = Path(model)
    if path.is_dir():
        return _from_work_dir(path)
    if path.is_file():
        return _from_file(path)
    if path.suffix in (".safetensors", ".pth") or len(path.parts) > 1:
        raise ModelSourceError(f"{path}: there is no such file or folder.")
    try:
        entry = find_model(str(model))
        return ModelSource(entry.name, entry.verify())
    except ModelIndexError as error:
        raise ModelSourceError(f"{error} A weights file or a work folder may stand there instead.") from error


def _from_file(path: Path) -> ModelSource:
    if path.suffix == ".safetensors":
        return ModelSource(path.stem, path)
    if path.suffix == ".pth":
        return ModelSource(f"{path.parent.resolve().name}/{path.stem}", path, _config_of(path.parent))
    raise ModelSourceError(f"{path}: expected a .safetensors file, a checkpoint .pth or a work folder.")


def _from_work_dir(folder: Path) -> ModelSource:
    """The best checkpoint of a training run where it kept one, else the newest intact one."""
    best = max(folder.glob("best*.pth"), key=lambda path: path.stat().st_mtime, default=None)
    weights = best or find_resumable(folder, _log.warning)
    if weights is None:
        raise ModelSourceError(f"{folder}: no checkpoint in this folder (best*.pth or iter_*.pth).")
    return ModelSource(f"{folder.resolve().name}/{weights.stem}", weights, _config_of(folder))


def _config_of(folder: Path) -> Path:
    """The config that a training run left beside its checkpoints; the newest if it was run with several."""
    configs = sorted(folder.glob("*.py"), key=lambda path: path.stat().st_mtime)
    if not configs:
        raise ModelSourceError(
            f"{folder}: no config (*.py) beside the checkpoints, so the model cannot be rebuilt; copy the "
            "training config there."
        )
    return configs[-1]
