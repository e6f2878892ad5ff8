"""What every refkit model shares: three modes of `forward`, and parts that can be frozen by name."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor, nn

from refkit.registry import MODELS
from refkit.structures import Prediction, ReferringSample

_MODES = ("tensor", "loss", "predict")
_INPUT_ALIASES = {"pad_mask": "padding"}


class ReferringModel(BaseModel):
    """MMEngine's ``BaseModel`` with typed modes; a family fills in `loss`, `predict` and `tensors`.

    Args:
        data_preprocessor: config or module, see MMEngine.
        freeze: names of modules (``backbone``, ``backbone.clip.text_model``) or parameters that are not
            trained; frozen modules also stay in evaluation mode (no dropout).
    """

    def __init__(self, data_preprocessor: Any = None, freeze: Sequence[str] = ()) -> None:
        if isinstance(data_preprocessor, Mapping):
            # MMEngine would look the name up in its own registry, which knows ours in a running Runner only.
            data_preprocessor = MODELS.build(dict(data_preprocessor))
        super().__init__(data_preprocessor=data_preprocessor)
        self.freeze = tuple(freeze)
        self.without: frozenset[str] = frozenset()

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

    def enter_stage(self, stage: Mapping[str, Any]) -> None:
        """Become what a stage of a training plan asks for; ``without`` names parts that are switched off."""
        self.without = frozenset(stage.get("without", ()))

    def apply_freeze(self) -> None:
        """Switch off gradients of everything in `freeze`; called at the end of a family's constructor.

        Raises:
            ValueError: a name that matches nothing; the nearest one is offered.
        """
        for prefix in self.freeze:
            found = [parameter for name, parameter in self.named_parameters() if _under(name, prefix)]
            if not found:
                names = [name for name, _ in self.named_modules()]
                near = difflib.get_close_matches(prefix, names, n=1, cutoff=0.3)
                raise ValueError(
                    f"freeze: nothing is called {prefix!r}; nearest: {', '.join(near) or 'none'}"
                )
            for parameter in found:
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> ReferringModel:
        """As ``nn.Module.train``, but frozen modules stay in evaluation mode."""
        super().train(mode)
        for name, module in self.named_modules():
            if any(_under(name, prefix) for prefix in self.freeze):
                nn.Module.train(module, False)
        return self


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")
