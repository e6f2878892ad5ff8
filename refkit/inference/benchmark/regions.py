"""How fast regions are embedded and described: batches against single regions, some heads against all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refkit.engine.config import RefkitConfig
from refkit.heads.caption import CaptionHead
from refkit.heads.recogniser import RecognitionHead
from refkit.inference.benchmark.absent import without_files
from refkit.inference.benchmark.subject import BenchmarkError, Run, Subject
from refkit.inference.benchmark.timing import time_interleaved
from refkit.models.dynrefer import TASKS, DynRefer
from refkit.registry import MODELS
from refkit.structures import Prediction, ReferringSample

_CHUNK = 20  # regions that the released code describes at once, as they come
_MOST_WORDS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """Alternatives that were measured in turn.

    Attributes:
        what: is done.
        seconds: median time of every alternative by its name; the others are compared with the first.
        count: of regions or texts that a time is for.
    """

    what: str
    seconds: dict[str, float]
    count: int

    def rate(self, name: str) -> float:
        """Regions or texts per second."""
        return self.count / self.seconds[name]

    def faster(self, name: str) -> float:
        """How many times as fast as the first alternative ``name`` is."""
        return next(iter(self.seconds.values())) / self.seconds[name]

    def to_json(self) -> dict[str, Any]:
        """Seconds, rates and ratios by alternative."""
        return {
            name: {"seconds": value, "per_second": self.rate(name), "faster": self.faster(name)}
            for name, value in self.seconds.items()
        }


class RegionBenchmark:
    """A `DynRefer` with all heads, and regions for it.

    Args:
        config: of the model and its data, see `Subject`.
        regions: how many.
        device: where the model computes.
        folder: for files that stand in for absent ones, and for tables of text embeddings.
        repeats: of every measurement; medians are told.
        progress: whether to show progress bars.

    Raises:
        BenchmarkError: the model is no `DynRefer`, lacks a head or has no text encoder.
    """

    def __init__(
        self,
        config: RefkitConfig,
        regions: int,
        device: torch.device,
        folder: Path,
        repeats: int,
        progress: bool,
    ) -> None:
        subject = Subject(config, regions, device, folder)
        self.model, self.device = _complete(subject.model, config.filename), device
        data = self.model.data_preprocessor(subject.test_batch)
        self.inputs: dict[str, Tensor] = data["inputs"]
        self.samples = _with_control_words(data["data_samples"], self._prompts())
        self.encoder_config = without_files(dict(config.to_dict()["model"]["text_encoder"]), folder)
        self.folder, self.repeats, self.progress = folder, repeats, progress
        with torch.inference_mode():
            self.features = self.model.features(self.inputs)

    def compare(self) -> list[Comparison]:
        """Everything, one after the other."""
        return [self.embedding(), self.captions(), self.searches(), self.heads(), self.tables()]

    def embedding(self) -> Comparison:
        """Views of all regions through the model in one pass."""
        runs = {
            "region by region": lambda: [self.model.features(part) for part in self._singles()],
            "one pass": lambda: self.model.features(self.inputs),
        }
        return self._compare("embedding, views of all regions", runs)

    def captions(self) -> Comparison:
        """From views to sentences, at the same beams."""
        singles = list(zip(self._singles(), self.samples, strict=True))
        runs = {
            "region by region": lambda: [
                self.model.predict(part, [sample], ("caption",)) for part, sample in singles
            ],
            "all at once": lambda: self.model.predict(self.inputs, self.samples, ("caption",)),
        }
        return self._compare(f"captions from views, {self._beams()} beams", runs)

    def searches(self) -> Comparison:
        """From embeddings to sentences: regions with control words of like length in one search."""
        runs = {
            "region by region": lambda: self._write(1),
            f"{_CHUNK} as they come": lambda: self._write(_CHUNK),
            "sorted, batched": lambda: self._write(len(self.samples)),
        }
        return self._compare(f"captions from embeddings, {self._beams()} beams", runs)

    def heads(self) -> Comparison:
        """What follows the embedding: only the heads that are needed; recognition tells categories."""
        asked = {
            "all heads": TASKS,
            "no captions": tuple(task for task in TASKS if task != "caption"),
            "attributes only": ("attributes",),
            "tags only": ("tags",),
            "recognition only": ("categories",),
        }
        runs = {name: partial(self._describe, tasks) for name, tasks in asked.items()}
        return self._compare("heads after the embedding", runs)

    def tables(self) -> Comparison:
        """Embeddings of the names of all vocabularies, by an encoder that is new every time.

        A new one, as in a new process, digests its weights before it trusts a folder.
        """
        texts = self._prompts()
        seconds: dict[str, list[float]] = {"first time": [], "from disk": []}
        for turn in range(self.repeats):
            for times in seconds.values():
                encoder = MODELS.build({**self.encoder_config, "cache": str(self.folder / f"tables {turn}")})
                encoder.load_state_dict(self.model.text_encoder.state_dict())
                encoder.to(self.device).eval()
                start = time.perf_counter()
                encoder.table(texts)
                times.append(time.perf_counter() - start)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        return Comparison("tables of text embeddings", medians, len(texts))

    def same_captions(self) -> int:
        """Regions about which one search for all and one for each write the same."""
        with torch.inference_mode():
            alone, together = self._write(1), self._write(len(self.samples))
        return sum(one.caption == other.caption for one, other in zip(alone, together, strict=True))

    def _compare(self, what: str, runs: Mapping[str, Run]) -> Comparison:
        with torch.inference_mode():
            timed = time_interleaved(runs, self.repeats, progress=self.progress)
        return Comparison(what, {name: timing.median for name, timing in timed.items()}, len(self.samples))

    def _describe(self, tasks: Sequence[str]) -> list[Prediction]:
        return self.model.describe(self.features, self.samples, tasks)

    def _write(self, chunk: int) -> list[Prediction]:
        """Captions of all regions, ``chunk`` of them in a search."""
        head, regions = _caption_head(self.model), self.features.regions
        assert regions is not None
        answers: list[Prediction] = []
        for start in range(0, len(self.samples), chunk):
            rows = slice(start, start + chunk)
            part = replace(self.features, regions=regions[rows])
            answers += head.predict(part, self.samples[rows])
        return answers

    def _singles(self) -> list[dict[str, Tensor]]:
        return [
            {name: self.inputs[name][row : row + 1] for name in ("views", "regions")}
            for row in range(len(self.samples))
        ]

    def _prompts(self) -> list[str]:
        heads = [head for head in self.model.active_heads() if isinstance(head, RecognitionHead)]
        return [text for head in heads for table in head.tables().values() for text in table.prompts]

    def _beams(self) -> int:
        beams: int = _caption_head(self.model).search["num_beams"]
        return beams


def _complete(model: Any, path: str) -> DynRefer:
    """A model that answers everything.

    Raises:
        BenchmarkError: another one.
    """
    if not isinstance(model, DynRefer) or model.text_encoder is None or set(model.tasks) != set(TASKS):
        raise BenchmarkError(
            f"{path}: expected a DynRefer with a text_encoder whose heads answer {', '.join(TASKS)}"
        )
    return model.eval()


def _caption_head(model: DynRefer) -> CaptionHead:
    return next(head for head in model.active_heads() if isinstance(head, CaptionHead))


def _with_control_words(samples: Sequence[ReferringSample], words: Sequence[str]) -> list[ReferringSample]:
    """Control words of unequal number, as a tag head finds them."""
    return [
        replace(sample, meta={**sample.meta, "control_words": words[: row * 5 % _MOST_WORDS]})
        for row, sample in enumerate(samples)
    ]
