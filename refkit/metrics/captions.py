"""Region captioning: words about a given region against the words of people.

Source: §2.6 of the evaluation specification. Notation: ``n`` records, ``i`` items; an item is one candidate
with the references it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from refkit.metrics.java_tools import CaptionToolError
from refkit.metrics.meteor import VERSION as METEOR
from refkit.metrics.meteor import meteor_counts, meteor_score
from refkit.metrics.ngrams import NgramTable, bleu, rouge_l
from refkit.metrics.protocol import Column, Corpus, Evaluation, Protocol, ProtocolError, register
from refkit.metrics.tokens import Tokens, tokenize

if TYPE_CHECKING:
    from refkit.data.records import Record
    from refkit.structures import Prediction

Floats = NDArray[np.float64]

FEW_ITEMS = 100
BLEU_NAMES = ("bleu1", "bleu2", "bleu3", "bleu4")


@dataclass(slots=True)
class Items:
    """Candidates with their references.

    Attributes:
        candidates: ``i`` captions, empty where there is none.
        references: one or more for each of them.
        owners: the record that each item is counted at.
        n: number of records.
        invalid: per record, answered without a caption.
        differing: objects whose records are answered with different captions.
    """

    candidates: list[str] = field(default_factory=list)
    references: list[list[str]] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    n: int = 0
    invalid: list[bool] = field(default_factory=list)
    differing: int = 0

    def add(self, candidate: str, references: Sequence[str], owner: int) -> None:
        """One item."""
        self.candidates.append(candidate)
        self.references.append(list(references))
        self.owners.append(owner)


def usable_caption(prediction: Prediction | None) -> str | None:
    """The caption of an answer; None where there is none."""
    if prediction is None or prediction.status != "ok":
        return None
    return prediction.caption


def references_of(record: Record) -> list[str]:
    """What people said about the region: its references, or its expression.

    Raises:
        ProtocolError: neither is there.
    """
    references = record.references or ([record.text] if record.text is not None else [])
    if not references:
        raise ProtocolError(
            f"record {record.id!r} has neither references nor a text to compare a caption with"
        )
    return references


def per_expression(pairs: Iterable[tuple[Record, Prediction | None]]) -> Items:
    """Every reference of every record is an item of its own, with the same candidate."""
    items = Items()
    for record, prediction in pairs:
        caption = usable_caption(prediction)
        for reference in references_of(record):
            items.add(caption or "", [reference], items.n)
        items.invalid.append(prediction is not None and not caption)
        items.n += 1
    return items


def per_region(pairs: Iterable[tuple[Record, Prediction | None]]) -> Items:
    """All references of all records of an object are one item, counted at its first record.

    Its candidate is the first caption that its records are answered with.
    """
    items = Items()
    places: dict[str, int] = {}
    for record, prediction in pairs:
        caption = usable_caption(prediction) or ""
        place = places.setdefault(record.object or record.id, len(items.candidates))
        if place == len(items.candidates):
            items.add(caption, references_of(record), items.n)
        else:
            items.references[place].extend(references_of(record))
            items.differing += (
                bool(caption) and bool(items.candidates[place]) and caption != items.candidates[place]
            )
            items.candidates[place] = items.candidates[place] or caption
        items.invalid.append(prediction is not None and not caption)
        items.n += 1
    return items


@dataclass(frozen=True, slots=True, eq=False)
class CaptionScores:
    """What the metrics say about ``i`` items.

    Attributes:
        cider: ``(i,)`` CIDEr-D.
        rouge_l: ``(i,)``.
        bleu_sums: ``(i, 10)``, see `NgramTable.bleu_sums`.
        meteor_counts: ``(i, 23)``, see `meteor_counts`; None where METEOR could not run.
        warnings: what could not be computed.
        tokenizer: who made the tokens, see `Tokenized`.
    """

    cider: Floats
    rouge_l: Floats
    bleu_sums: Floats
    meteor_counts: Floats | None
    warnings: tuple[str, ...]
    tokenizer: str


def score_captions(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """CIDEr-D, ROUGE-L, BLEU and METEOR of ``i`` captions.

    Args:
        candidates: raw captions; an empty one scores 0.
        references: one or more raw texts for each.
    """
    made = tokenize(chain(candidates, chain.from_iterable(references)))
    ours = [made.tokens[text] for text in candidates]
    theirs = [[made.tokens[text] for text in several] for several in references]
    table = NgramTable(ours, theirs)
    rouge = [rouge_l(one, several) for one, several in zip(ours, theirs, strict=True)]
    counts, warnings = None, list[str]()
    try:
        counts = meteor_counts(*_joined(ours, theirs)) if candidates else None
    except CaptionToolError as error:
        warnings.append(f"METEOR is not reported: {error}")
    return CaptionScores(
        table.cider(), np.array(rouge), table.bleu_sums(), counts, tuple(warnings), made.tokenizer
    )


def _joined(ours: list[Tokens], theirs: list[list[Tokens]]) -> tuple[list[str], list[list[str]]]:
    return [" ".join(one) for one in ours], [[" ".join(one) for one in several] for several in theirs]


def evaluate(
    pairs: Iterable[tuple[Record, Prediction | None]],
    unit: Callable[[Iterable[tuple[Record, Prediction | None]]], Items],
) -> Evaluation:
    """A variant over records and predictions.

    Args:
        pairs: records with their predictions.
        unit: makes the items.
    """
    items = unit(pairs)
    scores = score_captions(items.candidates, items.references)
    owners = np.array(items.owners, np.int64)
    columns: dict[str, Column | Corpus] = {
        "cider": _mean(scores.cider, owners, items.n),
        **_meteor_columns(scores.meteor_counts, owners, items.n),
        "rouge_l": _mean(scores.rouge_l, owners, items.n),
    }
    sums = _per_record(scores.bleu_sums, owners, items.n)
    columns |= {name: _bleu(sums, order) for order, name in enumerate(BLEU_NAMES)}
    rows = {"cider": _values(columns["cider"]), "rouge_l": _values(columns["rouge_l"])}
    if scores.meteor_counts is not None:
        rows["meteor"] = _values(columns["meteor_mean"])
    warnings = (*scores.warnings, *_warnings(items))
    tools = {"tokenizer": scores.tokenizer} | ({} if scores.meteor_counts is None else {"meteor": METEOR})
    return Evaluation(columns, np.array(items.invalid, bool), rows, warnings=warnings, tools=tools)


def _mean(values: Floats, owners: NDArray[np.int64], n: int) -> Column:
    """The mean over items, counted at their records."""
    above = np.bincount(owners, weights=values, minlength=n).astype(np.float64)
    return Column(above, np.bincount(owners, minlength=n).astype(np.float64))


def _values(column: Column | Corpus) -> Floats:
    """``(n,)`` mean of the items of each record; NaN where none is counted."""
    assert isinstance(column, Column)
    nothing = np.full_like(column.numerator, np.nan)
    return np.divide(column.numerator, column.denominator, out=nothing, where=column.denominator > 0)


def _per_record(values: Floats, owners: NDArray[np.int64], n: int) -> Floats:
    """``(n, s)`` sums of ``(i, s)`` values over the items of each record."""
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, owners, values)
    return sums


def _bleu(sums: Floats, order: int) -> Corpus:
    return Corpus.of_sums(sums, lambda summed: bleu(summed)[..., order])


def _meteor_columns(counts: Floats | None, owners: NDArray[np.int64], n: int) -> dict[str, Column | Corpus]:
    if counts is None:
        nothing = np.zeros(n)
        return {"meteor": Column(nothing, nothing), "meteor_mean": Column(nothing, nothing)}
    sums = _per_record(counts, owners, n)
    return {
        "meteor": Corpus.of_sums(sums, meteor_score),
        "meteor_mean": _mean(meteor_score(counts), owners, n),
    }


def _warnings(items: Items) -> Iterable[str]:
    count = len(items.candidates)
    if 0 < count < FEW_ITEMS:
        yield (
            f"CIDEr takes its document frequencies from the {count} evaluated items; below {FEW_ITEMS} it "
            "says little, and over a single item it is 0"
        )
    if items.differing:
        yield (
            f"{items.differing} records are answered with another caption than an earlier record of their "
            "object; the first caption of an object counts"
        )


SCORES = """\
Control characters and line separators become one blank; Penn Treebank tokens (Stanford CoreNLP 3.4.1), lower
case, without punctuation. CIDEr is CIDEr-D (sigma 6, clipped counts) with the document frequencies of the
evaluated references, METEOR 1.5 is the value of the whole corpus (the plain mean of items stands beside it),
ROUGE-L with beta 1.2, BLEU-1 to 4 of the corpus with the closest reference length: the definitions of the
COCO caption tools. A missing answer and one without a caption are empty captions: they score 0 and stay in
every denominator and length."""
VARIANTS: dict[str, tuple[str, Callable[[Iterable[tuple[Record, Prediction | None]]], Items]]] = {
    "caption/region": (
        f"""\
caption/region: one item per object, with the expressions or references of all its records as references
(REFER, SLR, Kosmos-2). The candidate is the first caption that the records of the object are answered with.
Never to be compared with caption/expression. {SCORES}""",
        per_region,
    ),
    "caption/expression": (
        f"""\
caption/expression: every reference (without references, the expression of the record) is an item of its own,
compared with the caption of its record (GLaMM, Osprey, ControlCap, DynRefer: RefCOCOg umd val with 4,896
items). Never to be compared with caption/region. {SCORES}""",
        per_expression,
    ),
}
LABELS = {
    "cider": "CIDEr",
    "meteor": "METEOR",
    "meteor_mean": "METEOR, mean of items",
    "rouge_l": "ROUGE-L",
    **{name: f"BLEU-{order}" for order, name in enumerate(BLEU_NAMES, start=1)},
}

for _id, (_text, _unit) in VARIANTS.items():
    register(
        Protocol(
            id=_id,
            text=_text,
            evaluate=partial(evaluate, unit=_unit),
            labels=LABELS,
            task="caption",
            answer="caption",
        )
    )
