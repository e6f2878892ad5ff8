"""Parameter groups: learning rates by prefix and by depth, weight decay only where it belongs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import nn

from refkit.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._BatchNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ParamGroupConstructor:
    """Builds the optimizer over the trainable parameters of a model, grouped by what they are.

    Args:
        optim_wrapper_cfg: ``type`` and arguments of the wrapper, with ``optimizer`` inside, which must state
            ``lr`` and, for ``decay_norms_and_biases=False``, ``weight_decay``.
        paramwise_cfg: optional settings:

            * ``lr_multipliers``: ``{prefix of parameter names: factor}``; the longest matching prefix counts.
            * ``decay_norms_and_biases`` (default True): False exempts normalisation layers, biases and every
              other vector or scalar from weight decay.
            * ``layer_decay``: ``dict(rate=0.9, pattern=r"blocks\\.(\\d+)\\.", layers=12)``: layer ``i``
              learns with ``rate ** (layers - i)``; names that do not match the pattern are not slowed.

    Raises:
        ValueError: unknown setting, a prefix or pattern that no trainable parameter has, or nothing to train.
    """

    def __init__(
        self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None
    ) -> None:
        self._wrapper = dict(optim_wrapper_cfg)
        self._optimizer = dict(self._wrapper.pop("optimizer"))
        self._wrapper.setdefault("type", "AutocastOptimWrapper")
        settings = dict(paramwise_cfg or {})
        self._multipliers: dict[str, float] = dict(settings.pop("lr_multipliers", None) or {})
        self._decay_vectors: bool = settings.pop("decay_norms_and_biases", True)
        self._layer_decay: dict[str, Any] | None = settings.pop("layer_decay", None)
        if settings:
            known = "lr_multipliers, decay_norms_and_biases, layer_decay"
            raise ValueError(f"paramwise_cfg: unknown settings {', '.join(settings)}; known are {known}")

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapper around an optimizer over ``model``'s parameters that require gradients."""
        groups = self.groups(getattr(model, "module", model))
        optimizer = OPTIMIZERS.build({**self._optimizer, "params": groups})
        return OPTIM_WRAPPERS.build({**self._wrapper, "optimizer": optimizer})

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """One group per pair of learning rate and weight decay, in order of first appearance."""
        trainable = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        if not trainable:
            raise ValueError(
                f"{type(model).__name__} has no parameter that requires a gradient: nothing to train"
            )
        self._check_names(trainable)
        undecayed = set() if self._decay_vectors else _vectors(model)
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in trainable.items():
            scale = self._scale(name)
            decays = name not in undecayed
            group = groups.setdefault((scale, decays), self._new_group(scale, decays))
            group["params"].append(parameter)
        return list(groups.values())

    def _new_group(self, scale: float, decays: bool) -> dict[str, Any]:
        group: dict[str, Any] = {"params": [], "lr": self._optimizer["lr"] * scale}
        if not decays:
            group["weight_decay"] = 0.0
        return group

    def _scale(self, name: str) -> float:
        matching = [prefix for prefix in self._multipliers if _under(name, prefix)]
        scale = self._multipliers[max(matching, key=len)] if matching else 1.0
        if self._layer_decay:
            layer = re.search(self._layer_decay["pattern"], name)
            if layer:
                scale *= self._layer_decay["rate"] ** (self._layer_decay["layers"] - int(layer[1]))
        return scale

    def _check_names(self, names: Iterable[str]) -> None:
        names = list(names)
        for prefix in self._multipliers:
            if not any(_under(name, prefix) for name in names):
                stems = sorted(
                    {name.rsplit(".", depth)[0] for name in names for depth in range(name.count(".") + 1)}
                )
                close = difflib.get_close_matches(prefix, stems, n=3)
                hint = f"; near names: {', '.join(close)}" if close else ""
                raise ValueError(
                    f"paramwise_cfg.lr_multipliers: no trainable parameter under {prefix!r}{hint}"
                )
        pattern = self._layer_decay["pattern"] if self._layer_decay else ""
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(f"paramwise_cfg.layer_decay: no trainable parameter matches {pattern!r}")


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix.removesuffix('.')}.")


def _vectors(model: nn.Module) -> set[str]:
    """Names of the parameters of normalisation layers, and of all biases, vectors and scalars."""
    names = {name for name, parameter in model.named_parameters() if parameter.ndim <= 1}
    for prefix, module in model.named_modules():
        if isinstance(module, _NORMS):
            names.update(
                f"{prefix}.{name}" if prefix else name for name, _ in module.named_parameters(recurse=False)
            )
    return names
