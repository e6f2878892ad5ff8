"""What every refkit model shares: modes of `forward`, parts frozen or switched off by name, adapters."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from refkit.backbones.hilora import AdapterError, HiLoRA, without_adapters
from refkit.registry import MODELS
from refkit.structures import Prediction, ReferringSample

_MODES = ("tensor", "loss", "predict")
_INPUT_ALIASES = {"pad_mask": "padding"}
_STAGE_KEYS = ("adapt", "without", "thaw", "freeze")


class ReferringModel(BaseModel):
    """MMEngine's ``BaseModel`` with typed modes; a family fills in `loss`, `predict` and `tensors`.

    Args:
        data_preprocessor: config or module, see MMEngine.
        freeze: names of modules (``backbone``, ``backbone.clip.text_model``) or parameters that are not
            trained; frozen modules also stay in evaluation mode (no dropout).
        adapters: `HiLoRA`, as config or object. The model is built plain; `enter_stage` opens adapters.
        without: names of modules that are switched off: neither run (as far as the family can do without
            them) nor trained. A stage of training may change them.

    Attributes:
        adapters: the `HiLoRA`, or None.
        without: names of the modules that are switched off now.
        reads_text: a sample's expression is what it is asked.
    """

    reads_text = True

    def __init__(
        self,
        data_preprocessor: Any = None,
        freeze: Sequence[str] = (),
        adapters: Mapping[str, Any] | HiLoRA | None = None,
        without: Sequence[str] = (),
    ) -> None:
        if isinstance(data_preprocessor, Mapping):
            # MMEngine would look the name up in its own registry, which knows ours in a running Runner only.
            data_preprocessor = MODELS.build(dict(data_preprocessor))
        super().__init__(data_preprocessor=data_preprocessor)
        self.freeze = tuple(freeze)
        self.adapters: HiLoRA | None = (
            MODELS.build(dict(adapters)) if isinstance(adapters, Mapping) else adapters
        )
        self.without = frozenset(without)
        self._unused: frozenset[str] = frozenset()
        self._trained: frozenset[str] = frozenset()

    @abstractmethod
    def loss(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> dict[str, Tensor]:
        """Flat dict of scalars; their names start with ``loss``."""

    @abstractmethod
    def predict(self, inputs: dict[str, Tensor], data_samples: Sequence[ReferringSample]) -> list[Prediction]:
        """One prediction per sample, in pixels of its original image."""

    @abstractmethod
    def tensors(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named raw outputs."""

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        data_samples: Sequence[ReferringSample] | None = None,
        mode: str = "tensor",
    ) -> dict[str, Tensor] | list[Prediction]:
        """Run one of the modes.

        Args:
            inputs: ``images (B, 3, H, W)`` float, ``token_ids (B, T)`` int64, optionally
                ``padding (B, H, W)``, True or 1 = padded pixel (also accepted as ``pad_mask``).
            data_samples: ``B`` samples; not needed for ``tensor``.
            mode: ``tensor``, ``loss`` or ``predict``.
        """
        named = {_INPUT_ALIASES.get(name, name): value for name, value in inputs.items()}
        if mode == "tensor":
            return self.tensors(named)
        if mode not in _MODES:
            raise ValueError(f"mode={mode!r}; expected one of {', '.join(_MODES)}")
        if data_samples is None:
            raise ValueError(f"mode={mode!r} needs data_samples")
        return self.loss(named, data_samples) if mode == "loss" else self.predict(named, data_samples)

    def apply_freeze(self) -> None:
        """Decide what is trained; called at the end of a family's constructor.

        Not trained are everything in `freeze` and `without`, and the parts that adapters stand in for.

        Raises:
            ValueError: a name that matches nothing; the nearest one is offered.
        """
        self._unused = frozenset(
            name.removesuffix(".weight")
            for name, parameter in self.named_parameters()
            if not parameter.requires_grad
        )
        for prefix in self.freeze:
            found = [parameter for name, parameter in self.named_parameters() if _under(name, prefix)]
            if not found:
                raise self._unknown("freeze", prefix)
            for parameter in found:
                parameter.requires_grad_(False)
        self._trained = frozenset(
            name for name, parameter in self.named_parameters() if parameter.requires_grad
        )
        self._switch_off(self.without)
        self._open(())
        self.train(self.training)

    def enter_stage(self, stage: Mapping[str, Any], adapted: Iterable[str] | None = None) -> None:
        """Make ready for a stage of training: adapters in place, and gradients for what the stage trains.

        Args:
            stage: ``adapt``, number of the stage of `adapters` (0, the default, opens no group),
                ``without``, names of modules switched off in this stage, ``freeze``, names of modules that
                run but are not trained in it (unlike those of the constructor's ``freeze`` they stay in
                training mode, with dropout and drop path), and ``thaw``, names of modules whose own weights
                this stage trains although adapters stand in for them (`HiLoRA`'s ``frozen``).
            adapted: to continue inside a stage, names of the layers that carried adapters there: exactly
                these get some and nothing is merged, so that the stage's weights can be loaded.

        Raises:
            AdapterError: unknown key, stage or module, or ``adapt`` without adapters.
        """
        self.check_stage(stage)
        self._switch_off(stage.get("without", ()))
        number = stage.get("adapt", 0)
        opened: Iterable[str] = ()
        if self.adapters is not None:
            off = (*self.without, *self._unused)
            if adapted is None:
                opened = self.adapters.enter(self, number, off)
            else:
                self.adapters.place(self, adapted)
                opened = self.adapters.opened(self, number, off)
        self._open(opened, stage.get("thaw", ()), stage.get("freeze", ()))
        self.train(self.training)

    def check_stage(self, stage: Mapping[str, Any]) -> None:
        """Whether `enter_stage` could obey; nothing changes.

        Raises:
            AdapterError: as `enter_stage`.
        """
        if unknown := sorted(set(stage) - set(_STAGE_KEYS)):
            raise AdapterError(f"stage: unknown key {unknown[0]!r}; known are {', '.join(_STAGE_KEYS)}")
        for key in ("without", "thaw", "freeze"):
            self._require_modules(key, stage.get(key, ()))
        number = stage.get("adapt", 0)
        if self.adapters is not None:
            self.adapters.opened(self, number)
        elif number:
            raise AdapterError(f"stage: adapt={number}, but the model has no adapters: set model.adapters")

    def fit_adapters(self, keys: Iterable[str]) -> None:
        """Make the set of adapter layers what a state dict with these keys needs.

        Raises:
            AdapterError: the keys are those of another model's adapters, or this model has no adapters.
        """
        keys = list(keys)
        if self.adapters is not None:
            self.adapters.fit(self, keys)
        elif adapters := sum(".lora_A." in key for key in keys):
            raise AdapterError(
                f"the weights hold {adapters} adapters that are not merged, and how strong they are (alpha) "
                "is not among the weights: build the model with adapters=dict(type=HiLoRA, …) as trained"
            )

    def settle(self, without: Iterable[str] = ()) -> None:
        """Turn into a plain model for evaluation: adapters merged, parts it was trained without left out."""
        self._switch_off(self.without.union(without))
        if self.adapters is not None:
            self.adapters.merge(self)
            self._open(())
        self.train(self.training)

    def train(self, mode: bool = True) -> ReferringModel:
        """As ``nn.Module.train``, but frozen modules, adapters in them apart, stay in evaluation mode."""
        super().train(mode)
        for name, module in self.named_modules():
            if _under_any(name, self.freeze):
                nn.Module.train(module, False)
        for name, module in self.named_modules():
            if name.endswith(".lora_A"):
                module.train(mode)
        return self

    def _open(self, adapted: Iterable[str], thaw: Sequence[str] = (), freeze: Sequence[str] = ()) -> None:
        """Gradients for the matrices of the layers named, and for what is neither frozen nor switched off."""
        opened, closed_now = set(adapted), {*self.without, *freeze}
        frozen = self.adapters.frozen if self.adapters else ()
        for name, parameter in self.named_parameters():
            plain = without_adapters(name)
            if plain is None:
                trained = name.partition(".lora_")[0] in opened
            else:
                closed = _under_any(plain, frozen) and not _under_any(plain, thaw)
                trained = plain in self._trained and not closed and not _under_any(plain, closed_now)
            parameter.requires_grad_(trained)

    def _switch_off(self, without: Iterable[str]) -> None:
        """Set `without`; a family whose parts have to be told extends this."""
        self.without = frozenset(without)
        self._require_modules("without", self.without)

    def _require_modules(self, what: str, names: Iterable[str]) -> None:
        known = {name for name, _ in self.named_modules()}
        for name in names:
            if name not in known:
                raise self._unknown(what, name)

    def _unknown(self, what: str, name: str) -> ValueError:
        near = difflib.get_close_matches(name, [known for known, _ in self.named_modules()], n=1, cutoff=0.3)
        return AdapterError(f"{what}: nothing is called {name!r}; nearest: {', '.join(near) or 'none'}")


def _under_any(name: str, prefixes: Iterable[str]) -> bool:
    return any(_under(name, prefix) for prefix in prefixes)


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
