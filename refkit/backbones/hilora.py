"""HiLoRA: low-rank adaptation of a transformer, opened group by group of blocks in stages.

Xiao et al., HiVG, ACM MM 2024, section 3.3; LoRA: Hu et al., ICLR 2022. The layers are peft's
(``y = W x + b + (alpha / rank) B A dropout(x)``), each in the place of the linear layer it adapts, so that a
state dict has ``X.base_layer.weight``, ``X.lora_A.default.weight`` and ``X.lora_B.default.weight``. Nothing
here knows a task or a model: blocks are found by the name of their list.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from refkit.backbones.activation import recomputed
from refkit.backbones.hilora_groups import PRESETS, AdapterError, is_under, require_module, resolve_groups
from refkit.registry import MODELS

__all__ = ["AdapterError", "HiLoRA", "adapted_names", "without_adapters"]

_ADAPTER = "default"
_LORA_A, _LORA_B, _BASE = ".lora_A.", ".lora_B.", ".base_layer"
_INSIDE = (f"{_BASE}.", ".lora_")
_INITS = ("kaiming", "gaussian")


@MODELS.register_module()
class HiLoRA:
    """Which linear layers of a model carry low-rank matrices in which stage, and which of them are trained.

    Stage 0 opens ``always`` only; stage ``k`` opens ``whole`` too and, of each list in ``groups``, the blocks
    of its ``k``-th entry. Arguments left out are those of the preset:

    * ``"published"`` (the released code): queries, keys, values and output projections; Kaiming-uniform A;
      one pair of matrices per layer, trained on and on; blocks 0-4, 0-7, 0-11 of the vision tower, of 24
      blocks too; the text tower from stage 1; the bridges from stage 0.
    * ``"paper"``: queries, keys, values and fully connected layers; Gaussian A; new matrices in every stage,
      merged into the weights before the next; equal groups of blocks (three of 12, four of 24), stage ``k``
      opening the first ``k``; the text tower from stage 1; no matrices in the bridges.

    Vanilla LoRA is one group of all blocks, ``groups={"blocks": 1}``.

    Args:
        preset: ``"published"``, ``"paper"`` or None (then ``groups`` and ``targets`` are required).
        groups: by name of a block list, either the number of equal groups (stage ``k`` opens the first
            ``k``), or for each stage the numbers of its blocks, from 0.
        order: of equal groups: ``"shallow-first"`` or ``"deep-first"``.
        whole: parts adapted whole from stage 1 on.
        always: parts adapted from stage 0 on. Those of a preset are passed over in a model that lacks them.
        frozen: parts whose own weights are not trained, in any stage.
        targets: names of linear layers (``"q_proj"``); a module's name means all linear layers inside it.
        rank: inner width of the matrices.
        alpha: the product ``B A`` is multiplied by ``alpha / rank``.
        dropout: on the input of A, while training.
        init: ``"kaiming"`` (uniform, a = sqrt 5) or ``"gaussian"`` (deviation 1 / rank) for A; B is zero.
        fresh: new matrices for every stage after merging the old ones; else one set is kept.
        seed: with stage and layer name it decides the values of A; the global generators are not touched.

    Raises:
        AdapterError: unknown preset, init or order, or a number out of range.
    """

    def __init__(
        self,
        preset: str | None = "published",
        groups: Mapping[str, int | Sequence[Sequence[int]]] | None = None,
        order: str = "shallow-first",
        whole: Sequence[str] | None = None,
        always: Sequence[str] | None = None,
        frozen: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
        rank: int = 32,
        alpha: int = 16,
        dropout: float = 0.1,
        init: str | None = None,
        fresh: bool | None = None,
        seed: int = 0,
    ) -> None:
        if preset is not None and preset not in PRESETS:
            raise AdapterError(f"HiLoRA: preset={preset!r}; expected {', '.join(PRESETS)} or None")
        chosen = dict(PRESETS[preset]) if preset else {}
        given: dict[str, Any] = {"groups": groups, "whole": whole, "always": always, "frozen": frozen}
        given |= {"targets": targets, "init": init, "fresh": fresh}
        chosen.update({name: value for name, value in given.items() if value is not None})
        missing = [name for name in ("groups", "targets") if not chosen.get(name)]
        if missing:
            raise AdapterError(f"HiLoRA: without a preset, {' and '.join(missing)} must be given")
        self.groups = dict(chosen["groups"])
        self.order = order
        self.whole, self.always, self.frozen = (
            tuple(chosen.get(name, ())) for name in ("whole", "always", "frozen")
        )
        self.targets = frozenset(chosen["targets"])
        self.init = str(chosen.get("init", "kaiming"))
        self.fresh = bool(chosen.get("fresh", False))
        self.rank, self.alpha, self.dropout, self.seed = rank, alpha, dropout, seed
        self._optional = always is None
        self._check()

    def stages(self, model: nn.Module) -> int:
        """Number of the last stage that ``model`` can enter.

        Raises:
            AdapterError: the groups do not fit the model's block lists.
        """
        return len(next(iter(resolve_groups(model, self.groups, self.order).values())))

    def opened(self, model: nn.Module, stage: int, without: Collection[str] = ()) -> list[str]:
        """Names of the linear layers whose matrices stage ``stage`` trains, in the model's order.

        Args:
            model: the model.
            stage: 0 = none of the groups.
            without: parts left out.

        Raises:
            AdapterError: no such stage, block list, block or part, or a part without any target.
        """
        groups = resolve_groups(model, self.groups, self.order)
        last = len(next(iter(groups.values())))
        if not 0 <= stage <= last:
            raise AdapterError(f"HiLoRA: stage {stage}; this model has stages 0 to {last}")
        parts = [part for part in self.always if not self._optional or self._matching(model, part)]
        if stage:
            parts += self.whole
            parts += [f"{name}.{block}" for name, lists in groups.items() for block in lists[stage - 1]]
        open_layers = {name for part in parts for name in self._linear_layers(model, part)}
        return [
            name
            for name in _plain_modules(model)
            if name in open_layers and not any(is_under(name, part) for part in without)
        ]

    def enter(self, model: nn.Module, stage: int, without: Collection[str] = ()) -> list[str]:
        """Give the layers of a stage their matrices; where matrices are fresh, merge the old ones first.

        Gradients are not touched, see `opened`.

        Returns:
            `opened`.
        """
        names = self.opened(model, stage, without)
        if self.fresh:
            self.merge(model)
        present = set(adapted_names(model))
        self._add(model, [name for name in names if name not in present], stage)
        return names

    def merge(self, model: nn.Module) -> None:
        """``W ← W + (alpha / rank) B A`` everywhere; no adapter layer is left."""
        for name in adapted_names(model):
            layer: Any = model.get_submodule(name)
            layer.merge()
            _replace(model, name, layer.get_base_layer())

    def fit(self, model: nn.Module, keys: Iterable[str]) -> None:
        """Make the set of adapter layers what a state dict with these keys needs, so that it loads strictly.

        Raises:
            AdapterError: keys of adapters alone, or for layers that the model lacks.
        """
        keys = list(keys)
        needed = {key.partition(_LORA_A)[0] for key in keys if _LORA_A in key}
        if keys and all(_LORA_A in key or _LORA_B in key for key in keys):
            raise AdapterError(
                f"the weights hold {len(needed)} adapters and nothing else; the model's own must be with them"
            )
        self.place(model, needed)

    def place(self, model: nn.Module, names: Iterable[str]) -> None:
        """Make exactly these layers carry matrices.

        Others are dropped without merging: this is for a model whose weights are about to be overwritten.

        Raises:
            AdapterError: layers that the model lacks.
        """
        needed = set(names)
        layers = {name for name, module in _plain_modules(model).items() if type(module) is nn.Linear}
        if unknown := sorted(needed - layers):
            raise AdapterError(
                f"the weights adapt {len(unknown)} layers that the model lacks, as {unknown[0]}"
            )
        present = set(adapted_names(model))
        for name in present - needed:
            _replace(model, name, model.get_submodule(name).get_base_layer())  # type: ignore[operator]
        self._add(model, sorted(needed - present), stage=0)

    def _check(self) -> None:
        if self.init not in _INITS:
            raise AdapterError(f"HiLoRA: init={self.init!r}; expected {' or '.join(_INITS)}")
        if self.order not in ("shallow-first", "deep-first"):
            raise AdapterError(f"HiLoRA: order={self.order!r}; expected shallow-first or deep-first")
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise AdapterError(
                f"HiLoRA: need rank ≥ 1, alpha > 0 and 0 ≤ dropout < 1, got {self.rank}, {self.alpha} and "
                f"{self.dropout}"
            )

    def _matching(self, model: nn.Module, part: str) -> list[str]:
        return [
            name
            for name, module in _plain_modules(model).items()
            if is_under(name, part)
            and type(module) is nn.Linear  # the one inside nn.MultiheadAttention is never called
            and not self.targets.isdisjoint(name.split(".")[part.count(".") :])
        ]

    def _linear_layers(self, model: nn.Module, part: str) -> list[str]:
        require_module(model, part)
        found = self._matching(model, part)
        if not found:
            raise AdapterError(
                f"HiLoRA: {part!r} has no linear layer called {', '.join(sorted(self.targets))}: set targets"
            )
        return found

    def _add(self, model: nn.Module, names: Sequence[str], stage: int) -> None:
        if not names:
            return
        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=r"\d+", bias="none"
        )
        # peft sees the linear layers only: given the whole model, it would leave attributes of its own there.
        holder = nn.ModuleDict({str(index): model.get_submodule(name) for index, name in enumerate(names)})
        with torch.random.fork_rng(devices=[]):
            inject_adapter_in_model(config, holder, _ADAPTER)
        for name, layer in zip(names, holder.values(), strict=True):
            _drop_leanly(layer)
            self._draw(layer, stage, name)
            _replace(model, name, layer)

    @torch.no_grad()
    def _draw(self, layer: Any, stage: int, name: str) -> None:
        words = hashlib.sha256(f"{self.seed}/{stage}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(words[:7], "big"))
        matrix = layer.lora_A[_ADAPTER].weight
        drawn = torch.empty(matrix.shape)
        if self.init == "kaiming":
            nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        else:
            nn.init.normal_(drawn, std=1 / self.rank, generator=generator)
        matrix.copy_(drawn)
        layer.lora_B[_ADAPTER].weight.zero_()


class DroppedLinear(nn.Linear):
    """``A dropout(x)`` that keeps ``x`` for the way back, which others need too, not mask and product.

    Args:
        linear: whose weight ``(rank, width)`` this layer takes over.
        p: probability of dropout while training.
    """

    def __init__(self, linear: nn.Linear, p: float) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.weight = linear.weight
        self.p = p

    def forward(self, states: Tensor) -> Tensor:
        """``(..., width)`` → ``(..., rank)``."""
        if not self.training:
            return super().forward(states)
        return recomputed(lambda inner: F.linear(F.dropout(inner, self.p), self.weight), states)


def _drop_leanly(layer: Any) -> None:
    """Dropout into the matrix that follows it; names and merging stay peft's."""
    dropout = layer.lora_dropout[_ADAPTER]
    if isinstance(dropout, nn.Dropout):
        layer.lora_A[_ADAPTER] = DroppedLinear(layer.lora_A[_ADAPTER], dropout.p)
        layer.lora_dropout[_ADAPTER] = nn.Identity()


def adapted_names(model: nn.Module) -> list[str]:
    """Names of the layers that carry low-rank matrices."""
    return [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def without_adapters(name: str) -> str | None:
    """What a parameter of an adapted model is called in the plain one; None for a low-rank matrix."""
    if _LORA_A in name or _LORA_B in name:
        return None
    return name.replace(f"{_BASE}.", ".")


def _plain_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by the names of the plain model; an adapted layer stands for itself."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if not any(mark in f"{name}." for mark in _INSIDE):
            found[name] = module.get_base_layer() if isinstance(module, LoraLayer) else module
    return found


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    module.train(model.get_submodule(name).training)
    setattr(model.get_submodule(parent), child, module)
