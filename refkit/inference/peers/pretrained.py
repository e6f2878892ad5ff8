"""Weights of transformers models: a local folder, or a name of the Hugging Face hub.

Only safetensors are read and no code of a repository is run.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from refkit.zoo.index import file_sha256

_HUB_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_LISTED = 5


class PretrainedError(ValueError):
    """Weights that are not at hand, or that are not those of the method."""


@dataclass(frozen=True)
class Pretrained:
    """A folder as ``save_pretrained`` of transformers writes it.

    Attributes:
        name: of the hub, or the folder's own name; what prediction files call the weights.
        folder: where it is.
    """

    name: str
    folder: Path

    @cached_property
    def checkpoint(self) -> str:
        """``sha256:…`` of the weights; of several files, that of their names and digests in order."""
        digests = [(path.name, file_sha256(path)) for path in sorted(self.folder.glob("*.safetensors"))]
        if len(digests) == 1:
            return f"sha256:{digests[0][1]}"
        return f"sha256:{hashlib.sha256(json.dumps(digests).encode()).hexdigest()}"

    def load(self, model_class: Any, processor_class: Any, model_types: tuple[str, ...]) -> tuple[Any, Any]:
        """The model in float32, and the processor of its inputs.

        Args:
            model_class: a ``PreTrainedModel``.
            processor_class: a ``ProcessorMixin``.
            model_types: what ``config.json`` may call the model.

        Raises:
            PretrainedError: the folder holds another model, lacks tensors or files, or has tensors of
                another shape. transformers would fill what is missing with random numbers.
        """
        self._check_type(model_types)
        try:
            model, report = self._read(model_class)
            processor = processor_class.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        # The library raises whatever its files make it stumble over.
        except Exception as error:
            raise PretrainedError(
                f"{self.folder}: cannot be loaded as {model_class.__name__}: {_first_line(error)}"
            ) from error
        if missing := sorted(report["missing_keys"]):
            listed = ", ".join(missing[:_LISTED]) + (", …" if len(missing) > _LISTED else "")
            raise PretrainedError(
                f"{self.folder}: {len(missing)} tensors of {model_class.__name__} are not in the weights "
                f"({listed}). Take weights that were saved by transformers for this class, not those of an "
                "authors' own code."
            )
        return model, processor

    def _read(self, model_class: Any) -> Any:
        """The model, and what the library says about names that did not fit."""
        import torch

        return model_class.from_pretrained(
            self.folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )

    def _check_type(self, model_types: tuple[str, ...]) -> None:
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise PretrainedError(f"{path}: not usable JSON: {_first_line(error)}") from error
        found = config.get("model_type") if isinstance(config, dict) else None
        if found not in model_types:
            raise PretrainedError(
                f"{path}: 'model_type' is {found!r}, this method needs {' or '.join(map(repr, model_types))}."
            )


def locate_pretrained(weights: str) -> Pretrained:
    """The folder behind what a user typed as weights.

    Args:
        weights: a folder, or ``owner/model`` of the hub. What the local cache holds is taken as it is;
            otherwise it is downloaded. An existing folder goes before a name.

    Raises:
        PretrainedError: neither is at hand.
    """
    if Path(weights).is_dir():
        return Pretrained(Path(weights).resolve().name, _whole(Path(weights)))
    if not _HUB_NAME.fullmatch(weights):
        raise PretrainedError(
            f"{weights}: there is no such folder, and it is no name of the hub either (owner/model)."
        )
    cached = _snapshot(weights, local=True)
    if cached is not None and not _lacking(cached):
        return Pretrained(weights, cached)
    folder = _snapshot(weights, local=False)
    if folder is None:
        raise PretrainedError(
            f"{weights}: not in the local cache and no network: download the repository where there is one, "
            "and name the folder."
        )
    return Pretrained(weights, _whole(folder))


def _snapshot(name: str, local: bool) -> Path | None:
    """The cached or downloaded repository; None where it is not cached, or cannot be reached."""
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES), local_files_only=local))
    except LocalEntryNotFoundError:
        return None
    # Unknown, private or gated repositories, full disks: the hub's own message says which.
    except Exception as error:
        raise PretrainedError(f"{name}: cannot be fetched from the hub: {_first_line(error)}") from error


def _whole(folder: Path) -> Path:
    if lacking := _lacking(folder):
        raise PretrainedError(
            f"{folder}: no {lacking} there; expected a folder as save_pretrained of transformers writes it, "
            "with config.json, *.safetensors and the files of the processor. Weights in pickled files "
            "(.bin, .pth) are not read: convert them to safetensors first."
        )
    return folder


def _lacking(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return "config.json"
    return "" if next(folder.glob("*.safetensors"), None) else "*.safetensors"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
