"""The model zoo's index: one ``metafile.yml`` per family, in OpenMMLab's shape with a few more fields.

A folder is a zoo when it has ``<family>/metafile.yml`` files. Weights are named relative to their metafile,
configs relative to the folder that holds the zoo (in a checkout: the root of the repository)::

    Collections:
      - Name: HiVG
    Models:
      - Name: refshapes-hivg-tiny
        In Collection: HiVG
        Config: configs/refshapes/hivg_tiny.py
        Weights: refshapes-hivg-tiny.safetensors
        SHA256: 64 hexadecimal digits
        Size: 1234567            # bytes
        Licence: Apache-2.0
        Results:
          - {Task: REC, Dataset: refshapes.refkit.val, Metrics: {Acc@0.5: 91.2}}

No torch here: ``refkit --help`` and the documentation's tables read the index too.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import refkit

_REQUIRED = ("Name", "In Collection", "Config", "Weights", "SHA256", "Size")
_OPTIONAL = ("Licence", "Results", "Description", "Converted From", "Metadata")


class ModelIndexError(ValueError):
    """A metafile is broken, a model name is unknown, or a weights file is not the one the index describes."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """A published or measured result of a model.

    Attributes:
        task: ``REC``, ``RES``, ….
        dataset: a canonical data set name such as ``refcoco.unc.val``.
        metrics: value per metric name, in percent where the metric is a share.
    """

    task: str
    dataset: str
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of the zoo.

    Attributes:
        name: what ``--model`` takes.
        family: the collection, such as ``HiVG``.
        config: path of its config, relative to the folder that holds the zoo.
        weights: absolute path of its weights file.
        sha256: of the weights file, 64 hexadecimal digits.
        size: of the weights file, in bytes.
        licence: of the weights.
        results: what the model reaches.
        metafile: where this entry stands.
    """

    name: str
    family: str
    config: str
    weights: Path
    sha256: str
    size: int
    licence: str = ""
    results: tuple[ModelResult, ...] = field(default=())
    metafile: Path = field(default=Path())

    def verify(self) -> Path:
        """The weights file, after comparing its size and SHA-256 with the index.

        Raises:
            ModelIndexError: if the file is missing or is not the one the index describes.
        """
        if not self.weights.is_file():
            raise ModelIndexError(
                f"{self.metafile}: the weights of {self.name!r} are not at {self.weights}. "
                "Restore the file, or train the model with its config: " + self.config
            )
        size = self.weights.stat().st_size
        if size != self.size:
            raise ModelIndexError(
                f"{self.weights}: {size} bytes where {self.metafile} says {self.size}; the file is cut "
                "off or another version. Restore it from version control."
            )
        found = file_sha256(self.weights)
        if found != self.sha256:
            raise ModelIndexError(
                f"{self.weights}: SHA-256 is {found}, {self.metafile} says {self.sha256}; the file was "
                "changed. Restore it, or correct the metafile if the new file is meant."
            )
        return self.weights


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def zoo_folder() -> Path:
    """The folder of metafiles: ``REFKIT_ZOO``, or ``model_zoo`` of the checkout or of the working folder.

    Raises:
        ModelIndexError: if none of these exists.
    """
    chosen = os.environ.get("REFKIT_ZOO")
    candidates = (
        [Path(chosen)] if chosen else [Path(refkit.__file__).parents[1] / "model_zoo", Path("model_zoo")]
    )
    for folder in candidates:
        if folder.is_dir():
            return folder.resolve()
    listed = ", ".join(str(folder) for folder in candidates)
    raise ModelIndexError(
        f"no model zoo found (looked for {listed}); set REFKIT_ZOO to the folder of metafiles."
    )


def load_index(folder: Path | str | None = None) -> dict[str, ModelEntry]:
    """All models of a zoo by name, in the order of the metafiles' paths.

    Args:
        folder: the zoo; `zoo_folder` by default.

    Raises:
        ModelIndexError: if a metafile is broken or two models share a name.
    """
    root = Path(folder).resolve() if folder is not None else zoo_folder()
    index: dict[str, ModelEntry] = {}
    for metafile in sorted(root.glob("*/metafile.yml")):
        for entry in read_metafile(metafile):
            if entry.name in index:
                raise ModelIndexError(
                    f"{metafile}: Models: the name {entry.name!r} is already taken in "
                    f"{index[entry.name].metafile}; names are unique over the whole zoo."
                )
            index[entry.name] = entry
    return index


def find_model(name: str, folder: Path | str | None = None) -> ModelEntry:
    """The model of that name.

    Raises:
        ModelIndexError: if no model has that name; names the nearest ones.
    """
    index = load_index(folder)
    if name in index:
        return index[name]
    near = difflib.get_close_matches(name, index, n=3, cutoff=0.4)
    known = ", ".join(index) or "none yet"
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ModelIndexError(f"no model is named {name!r}.{hint} Models in the zoo: {known}.")


def read_metafile(path: Path) -> list[ModelEntry]:
    """The models of one metafile.

    Raises:
        ModelIndexError: names the file, the model and the key that is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelIndexError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("Models"), list):
        raise ModelIndexError(f"{path}: expected a mapping with the lists 'Collections' and 'Models'.")
    collections = {item["Name"] for item in content.get("Collections") or [] if isinstance(item, dict)}
    return [_entry(path, position, model, collections) for position, model in enumerate(content["Models"])]


def _entry(path: Path, position: int, model: Any, collections: set[str]) -> ModelEntry:
    where = f"{path}: Models[{position}]"
    if not isinstance(model, dict):
        raise ModelIndexError(f"{where}: expected a mapping, found {type(model).__name__}.")
    where += f" ({model.get('Name', 'without a name')})"
    _check_keys(where, model)
    if model["In Collection"] not in collections:
        raise ModelIndexError(
            f"{where}: In Collection: {model['In Collection']!r} is not listed in Collections."
        )
    if not re.fullmatch(r"[0-9a-f]{64}", str(model["SHA256"])):
        raise ModelIndexError(f"{where}: SHA256: expected 64 lower-case hexadecimal digits.")
    if not isinstance(model["Size"], int) or model["Size"] <= 0:
        raise ModelIndexError(f"{where}: Size: expected the number of bytes, found {model['Size']!r}.")
    return ModelEntry(
        name=str(model["Name"]),
        family=str(model["In Collection"]),
        config=str(model["Config"]),
        weights=(path.parent / str(model["Weights"])).resolve(),
        sha256=str(model["SHA256"]),
        size=model["Size"],
        licence=str(model.get("Licence", "")),
        results=tuple(_result(where, result) for result in model.get("Results") or []),
        metafile=path,
    )


def _check_keys(where: str, model: dict[str, Any]) -> None:
    missing = [key for key in _REQUIRED if key not in model]
    if missing:
        raise ModelIndexError(f"{where}: missing {', '.join(missing)}.")
    for key in model:
        if key not in _REQUIRED + _OPTIONAL:
            near = difflib.get_close_matches(str(key), _REQUIRED + _OPTIONAL, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_REQUIRED + _OPTIONAL)}."
            raise ModelIndexError(f"{where}: unknown key {key!r}{hint}")


def _result(where: str, result: Any) -> ModelResult:
    try:
        metrics = {str(name): float(value) for name, value in result["Metrics"].items()}
        return ModelResult(str(result["Task"]), str(result["Dataset"]), metrics)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelIndexError(
            f"{where}: Results: expected Task, Dataset and Metrics (name: number), found {result!r}."
        ) from error
