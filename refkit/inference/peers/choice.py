"""From what a user names to what answers: a model of refkit or a peer, with a refiner or without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from refkit.inference.inferencer import load_model
from refkit.inference.peers.method import MethodError
from refkit.inference.peers.peer import load_peer, refined
from refkit.inference.prediction_run import Answerer

_REFINE = "refine."


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of ``refkit predict`` that say what answers.

    Attributes:
        model: of refkit, see `load_model`.
        method: instead of a model, such as ``"hf:grounding-dino"``.
        weights: of the method.
        settings: of the method as ``KEY=VALUE``; those of the refiner begin with ``refine.``.
        refine: what turns boxes into masks, ``"sam"``.
        refine_weights: of the refiner.
        device: where it computes; a GPU if there is one, else the CPU.
        precision: see `load_model`.
    """

    model: str | None = None
    method: str | None = None
    weights: str | None = None
    settings: tuple[str, ...] = ()
    refine: str | None = None
    refine_weights: str | None = None
    device: str | None = None
    precision: str = "auto"

    def load(self) -> Answerer:
        """What answers.

        Raises:
            MethodError: options that do not belong together, an unknown method or setting.
            PretrainedError, ModelSourceError, WeightError, DeviceError: see `load_peer` and `load_model`.
        """
        self._check()
        given = _by_key(self.settings)
        of_refiner = {
            key.removeprefix(_REFINE): given.pop(key) for key in [*given] if key.startswith(_REFINE)
        }
        answerer: Answerer
        if self.method is not None and self.weights is not None:
            answerer = load_peer(self.method, self.weights, given, self.device, self.precision)
        elif self.model is not None and not given:
            answerer = load_model(self.model, self.device, self.precision)
        else:
            raise MethodError(f"--set {next(iter(given))}=… belongs to --method; a model has no settings.")
        if self.refine is not None and self.refine_weights is not None:
            return refined(
                answerer, self.refine, self.refine_weights, of_refiner, self.device, self.precision
            )
        if of_refiner:
            raise MethodError(f"--set {_REFINE}{next(iter(of_refiner))}=… needs --refine.")
        return answerer

    def _check(self) -> None:
        """Whether the options belong together, before anything is loaded."""
        if self.model is None and self.method is None:
            raise MethodError(
                "name the model that answers (--model), or a method of another library (--method with "
                "--weights); --merge joins finished shards without either."
            )
        if self.model is not None and self.method is not None:
            raise MethodError("--model and --method exclude each other: one of them answers.")
        for option, value in (("method", self.method), ("refine", self.refine)):
            weights_option = "--weights" if option == "method" else "--refine-weights"
            weights = self.weights if option == "method" else self.refine_weights
            if value is not None and weights is None:
                raise MethodError(
                    f"--{option} {value} needs {weights_option}: a folder, or a name of the hub."
                )
            if value is None and weights is not None:
                raise MethodError(f"{weights_option} needs --{option}.")


def _by_key(settings: Iterable[str]) -> dict[str, str]:
    """Texts by key.

    Raises:
        MethodError: no ``KEY=VALUE``, or a key twice.
    """
    given: dict[str, str] = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not (key and sign):
            raise MethodError(f"--set {setting!r}: expected KEY=VALUE.")
        if key in given:
            raise MethodError(f"--set {key}: given twice.")
        given[key] = value
    return given
