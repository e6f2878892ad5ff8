"""What it takes to rebuild a model: its config and the transforms of its inputs, as plain JSON values.

Weights files carry this in their metadata, so that one file is a model. Such a file may come from anywhere;
a ``type`` in it is therefore looked up among the registered classes only and never imported by path.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.registry import Registry

import refkit
from refkit.registry import MODELS, TRANSFORMS

_DATALOADERS = ("test_dataloader", "val_dataloader", "train_dataloader")


class ModelConfigError(ValueError):
    """A model's config is incomplete or names a class that refkit does not know."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Plain values from which `MODELS` and `TRANSFORMS` build a model and its input transforms.

    Attributes:
        model: config of the model; every ``type`` is a registered name.
        pipeline: configs of the transforms that turn a picture into the model's input at test time.
    """

    model: dict[str, Any]
    pipeline: list[dict[str, Any]]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str) -> ModelConfig:
        """Takes the model and the test-time transforms out of a full config.

        Args:
            config: a config as plain values (``Config.to_dict()``).
            where: the file, for messages.

        Raises:
            ModelConfigError: if the model or the transforms are not in it.
        """
        if "model" not in config:
            raise ModelConfigError(f"{where}: no 'model' in this config.")
        for name in _DATALOADERS:
            pipeline = _pipeline_of(config.get(name))
            if pipeline is not None:
                return cls.checked({"model": config["model"], "pipeline": pipeline}, where)
        raise ModelConfigError(
            f"{where}: no transforms; expected 'pipeline' in the dataset of {' or '.join(_DATALOADERS)}."
        )

    @classmethod
    def checked(cls, content: Any, where: str) -> ModelConfig:
        """Checks the shape of the values and turns every ``type`` into a registered name.

        Raises:
            ModelConfigError: if a part is missing or a ``type`` is not registered.
        """
        if not isinstance(content, dict) or not {"model", "pipeline"} <= content.keys():
            raise ModelConfigError(f"{where}: expected a config with the keys 'model' and 'pipeline'.")
        if not isinstance(content["model"], dict) or not isinstance(content["pipeline"], list):
            raise ModelConfigError(f"{where}: expected 'model' to be a mapping and 'pipeline' a list.")
        model = _with_registered_types(content["model"], MODELS, where)
        return cls(model, _with_registered_types(content["pipeline"], TRANSFORMS, where))


def _pipeline_of(dataloader: Any) -> list[Any] | None:
    dataset = dataloader.get("dataset") if isinstance(dataloader, Mapping) else None
    return dataset.get("pipeline") if isinstance(dataset, Mapping) else None


def _with_registered_types(value: Any, registry: Registry, where: str) -> Any:
    """The same values, each ``type`` shortened to the bare name of a registered class."""
    if isinstance(value, Mapping):
        return {
            key: _registered_name(item, registry, where)
            if key == "type"
            else _with_registered_types(item, registry, where)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_registered_types(item, registry, where) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ModelConfigError(f"{where}: a config holds numbers, texts, lists and mappings, found {value!r}.")


def _registered_name(kind: Any, registry: Registry, where: str) -> str:
    """The bare name of a class of refkit's own registry.

    `Registry.get` is not asked: it imports, by path, whatever it does not find.
    """
    name = (kind if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))).rpartition(".")[2]
    registry.import_from_location()
    if name not in registry.module_dict:
        near = difflib.get_close_matches(name, registry.module_dict, n=1)
        hint = f" The nearest is {near[0]!r}." if near else ""
        raise ModelConfigError(
            f"{where}: type {kind!r} is not a {registry.name} of refkit {refkit.__version__}; the file "
            f"comes from another version or was tampered with.{hint}"
        )
    return name
