"""`refkit.entry/1`: what the leaderboard knows about one method on one task, validated field by field.

After §3.4 of the evaluation specification. Values are full-precision fractions; points given by a judge stay
points. Every text is untrusted: it has a limit of length, holds no control characters, and is escaped where
it is shown.
"""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

FORMAT = "refkit.entry/1"
TASKS = (
    *("rec", "res", "grec", "gres", "phrase", "reason"),
    *("caption", "densecap", "attributes", "recognition", "reasoning"),
)
"""Folders of entries. The part of a protocol's id before the slash is its task."""

SETTINGS = (
    *("single_dataset", "single_dataset/detector_init", "single_dataset/vl_selfsup_init"),
    *("mixed_pretraining", "mixed_pretraining/open_set_detection", "mixed_pretraining/multi_task"),
    *("mixed_pretraining/grounding_mllm", "mixed_pretraining/open_set_detection_or_multi_task"),
    *("mixed_pretraining/intermediate", "zero_shot"),
    *("box_oracle", "own_boxes", "ground_truth_boxes", "as_reported"),
)
"""What a method was trained on or is given. Only the part before the slash separates boards."""

SHORT, LONG = 200, 4000
_INTERVAL = "_interval"
_RECOMPUTABLE = ("records_digest", "protocol", "predictions")
_METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_@.:+-]{0,47}")


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("expected one line of printable text")
    return unicodedata.normalize("NFC", text)


def _web_address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s\"'<>\\]+", text):
        raise ValueError("expected an address that begins with https:// or http://")
    return text


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text:
        raise ValueError("expected a path below the leaderboard's folder, without '..'")
    return text


def _setting(text: object) -> object:
    """§3.4 calls mixed training ``mixed``, the published numbers ``mixed_pretraining``: one group."""
    return "mixed_pretraining" if text == "mixed" else text


def _known_setting(text: str) -> str:
    if text not in SETTINGS:
        raise ValueError(f"no such setting; there are {', '.join(SETTINGS)}")
    return text


def _day(value: object) -> object:
    """YAML reads an unquoted date as a date."""
    return value.isoformat() if type(value) is datetime.date else value


def _metrics(value: dict[str, Any]) -> dict[str, Any]:
    for name, number in value.items():
        if not _METRIC.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a metric")
        if isinstance(number, tuple) != name.endswith(_INTERVAL):
            raise ValueError(f"{name}: expected a number, or [low, high] under a name with {_INTERVAL}")
        if name.endswith(_INTERVAL) and name.removesuffix(_INTERVAL) not in value:
            raise ValueError(f"{name}: an interval without its metric {name.removesuffix(_INTERVAL)!r}")
    if not any(name not in ("coverage", "invalid") and not name.endswith(_INTERVAL) for name in value):
        raise ValueError("no metric")
    return value


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


Line = Annotated[str, Field(max_length=SHORT), AfterValidator(_one_line)]
Name = Annotated[str, Field(max_length=80), AfterValidator(_one_line)]
Note = Annotated[str, Field(max_length=LONG), AfterValidator(_one_line)]
Address = Annotated[str, Field(max_length=SHORT), AfterValidator(_web_address)]
InnerPath = Annotated[Line, AfterValidator(_inside)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
RecordsName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_+-]{1,60}(\.[A-Za-z0-9_+-]{1,60}){2}$")]
ProtocolId = Annotated[str, Field(pattern=r"^[a-z]{1,20}/[a-z0-9][a-z0-9./-]{0,40}$")]
Count = Annotated[int, Field(ge=0, le=10**12)]
Number = Annotated[float, AfterValidator(_finite)]
Share = Annotated[Number, Field(ge=0, le=1)]
Setting = Annotated[str, BeforeValidator(_setting), AfterValidator(_known_setting)]
Day = Annotated[str, BeforeValidator(_day), Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Interval = Annotated[tuple[Number, Number], Field(strict=False)]
Value = Annotated[dict[str, Number | Interval], Field(min_length=1, max_length=80), AfterValidator(_metrics)]


class _Part(BaseModel):
    """A misspelt key is an error, and no type is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Paper(_Part):
    """Where the method is described."""

    title: Line | None = None
    venue: Line | None = None
    year: Annotated[int, Field(ge=1980, le=2200)] | None = None
    url: Address | None = None


class ModelCard(_Part):
    """What the method is made of; ``parameters_m`` in millions, ``resolution`` in pixels."""

    visual: Line | None = None
    language: Line | None = None
    parameters_m: Annotated[Number, Field(gt=0)] | None = None
    resolution: Annotated[int, Field(gt=0, le=10**5)] | None = None
    checkpoint: Digest | None = None


class Overlap(_Part):
    """Evaluation images that are training images.

    ``computed`` from the image numbers of both records, ``declared`` by whoever made the entry, or
    ``unknown``. ``share`` is the share of the evaluated expressions that lie on such images.
    """

    how: Literal["computed", "declared", "unknown"] = "unknown"
    images: Count | None = None
    expressions: Count | None = None
    share: Share | None = None

    @model_validator(mode="after")
    def _counted(self) -> Overlap:
        if (self.how == "unknown") != (self.images is None):
            raise ValueError("expected 'images' unless the overlap is unknown")
        return self


class TrainingSet(_Part):
    """Records that the method was trained on; the digest finds them again."""

    records: Line
    digest: Digest | None = None


class Training(_Part):
    """What the method has seen; ``pretraining`` and its size as the source prints them."""

    setting: Setting
    data: Annotated[list[TrainingSet], Field(max_length=50)] = []
    pretraining: Line | None = None
    pretraining_size: Line | None = None
    overlap: Overlap = Overlap()


class PredictionRef(_Part):
    """A prediction file, relative to the leaderboard's folder."""

    file: InnerPath
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Source(_Part):
    """Where a reported number is printed, and how."""

    work: Line
    table: Line | None = None
    row: Count | None = None
    quoted: Number | dict[str, Number]


class Drawn(_Part):
    """How records of RefShapes are drawn again."""

    about: Literal["expressions", "objects"] = "expressions"
    seed: Count
    start: Count
    scenes: Annotated[int, Field(ge=1, le=10**6)]
    size: Annotated[int, Field(ge=16, le=4096)]


class Bootstrap(_Part):
    """Of the intervals; the same draws give the same intervals."""

    draws: Annotated[int, Field(ge=0, le=10**6)]
    seed: Count


class ResultEntry(_Part):
    """The numbers of one method on one set of records.

    ``value`` has metrics by name, their intervals as ``<name>_interval``, and ``coverage`` and ``invalid`` as
    shares. ``protocol`` is None where the source does not state one that has an id.
    """

    records: RecordsName
    records_digest: Digest | None = None
    protocol: ProtocolId | None = None
    protocol_note: Note | None = None
    value: Value
    predictions: PredictionRef | None = None
    source: Source | None = None
    overlap: Overlap | None = None
    drawn: Drawn | None = None
    bootstrap: Bootstrap | None = None

    @property
    def dataset(self) -> str:
        """``refcoco.unc`` of ``refcoco.unc.val``."""
        return self.records.rpartition(".")[0]

    @property
    def split(self) -> str:
        """``val`` of ``refcoco.unc.val``."""
        return self.records.rpartition(".")[2]

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics by name, without intervals, coverage and the share of invalid answers."""
        return {
            name: number
            for name, number in self.value.items()
            if not isinstance(number, tuple) and name not in ("coverage", "invalid")
        }

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The 95 % interval of a metric, where there is one."""
        found = self.value.get(metric + _INTERVAL)
        return found if isinstance(found, tuple) else None


class Conflict(_Part):
    """Two tables that print different numbers for the same thing: ``values[records][table]``."""

    comment: Note
    values: dict[Line, dict[Line, Number]]


class Entry(_Part):
    """One method on one task."""

    format: Literal["refkit.entry/1"]
    task: Literal[TASKS]  # type: ignore[valid-type]
    method: Name
    variant: Line | None = None
    paper: Paper = Paper()
    model: ModelCard = ModelCard()
    training: Training
    status: Literal["reported", "reproduced", "verified"]
    results: Annotated[list[ResultEntry], Field(min_length=1, max_length=200)]
    notes: Annotated[list[Note], Field(max_length=50)] = []
    conflicts: Annotated[list[Conflict], Field(max_length=50)] = []
    refkit: Line | None = None
    date: Day | None = None

    @model_validator(mode="after")
    def _results_fit(self) -> Entry:
        for place, result in enumerate(self.results):
            if result.protocol and result.protocol.partition("/")[0] != self.task:
                raise ValueError(f"results[{place}].protocol: {result.protocol} does not score {self.task}")
            needed = (
                ("source",) if self.status == "reported" else ("records_digest", "protocol", "predictions")
            )
            missing = [name for name in needed if getattr(result, name) is None]
            if missing:
                raise ValueError(f"results[{place}]: a {self.status} result needs {', '.join(missing)}")
        return self

    @property
    def setting_group(self) -> str:
        """The part of the setting that separates boards."""
        return self.training.setting.partition("/")[0]

    @property
    def recomputable(self) -> bool:
        """Whether the numbers come from prediction files."""
        return self.status != "reported"

    def overlap_of(self, result: ResultEntry) -> Overlap:
        """Of one result, or what is said of the method as a whole."""
        return result.overlap or self.training.overlap

    def to_yaml_fields(self) -> dict[str, Any]:
        """Plain values without the fields that say nothing."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
