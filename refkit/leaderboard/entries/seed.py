"""Published numbers as `reported` entries: nothing is measured, every number keeps its table."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from refkit.data.files import atomic_write
from refkit.leaderboard.entries.files import NOTES_FILE, EntryError, explain, load_yaml, slug, write_entry
from refkit.leaderboard.entries.schema import FORMAT, Entry

SCHEMA = "refkit-leaderboard-seed/1"
LARGEST_SEED = 16 << 20

TASK_NAMES = {
    "rec": "rec",
    "res": "res",
    "region_caption": "caption",
    "dense_caption": "densecap",
    "attribute": "attributes",
    "region_recognition": "recognition",
    "referring_reasoning": "reasoning",
}
"""Tasks as a seed calls them → the folder of entries, which is the first part of a protocol's id."""

DATASETS = {
    "refcoco": "refcoco.unc",
    "refcoco+": "refcocoplus.unc",
    "refcocog-umd": "refcocog.umd",
    "referitgame": "referit.berkeley",
    "flickr30k-entities": "flickr30k.entities",
}
"""Data sets whose results are given per split."""

SINGLE_RECORDS = {
    "refcocog": "refcocog.umd.val",
    "visual-genome": "vg.as_printed.test",
    "visual-genome-1.0": "vg.1_0.test",
    "visual-genome-1.2": "vg.1_2.test",
    "vg-coco": "vgcoco.as_printed.test",
    "ovad-box": "ovad.box.test",
    "coco-2017-val": "coco.2017.val",
    "ferret-bench": "ferretbench.as_printed.test",
}
"""Data sets whose results are metrics. ``as_printed``: the table does not say which of several test sets."""

PROTOCOLS: dict[str, str | None] = {
    "rec/iou-ge; boxes of the ground truth cut to integers; padded square input space": "rec/transvg",
    "rec/giou-ge (generalised IoU in the released evaluator)": "rec/mdetr-giou",
    "rec/iou-gt on square-padded coordinates rounded to 3 decimals": "rec/strict-gt",
    "rec/iou-ge at model resolution; mean of batch means": None,
    "rec/iou-ge; integers after truncation; a phrase must match": None,
    "res on the 384x384 padded canvas": "res/padded-canvas",
    "res at 480x480, all sentences": "res/lavt",
    "res at original size, mask threshold 0.35, strict P@X": "res/cris",
    "res by run-length IoU of polygons": None,
    "RefCOCOg part: umd val, one reference per expression (4,896 items)": "caption/expression",
    "google val with all references of a region; not comparable with the rows below it": "caption/region",
    "densecap, Lua evaluator (one-pixel inclusive boxes)": "densecap/lua",
    "densecap, Python port; GRiT boxes when own_boxes": "densecap/python",
    "attributes/box (ground-truth boxes)": "attributes/box",
    "top-1 class as the only detection of a ground-truth box; 80 classes": "recognition/top1",
    "65 classes in its own paper": None,
}
"""What the released code of a method does, in the seed's words → the protocol that does the same; None where
none is the same, so that the words stand alone."""

GOOGLE_NOTE = "google val with all references"
METRIC_NAMES = {
    "acc@0.5": "acc50",
    "all": "map",
    "head": "map_head",
    "medium": "map_medium",
    "tail": "map_tail",
    "referring_reasoning": "judge",
}
RECOGNITION_NAMES = {"map": "ap", "accuracy": "top1"}
"""Recognition: COCO's AP and the top-1 accuracy, as the protocols of that task call them."""

IN_POINTS = frozenset(("judge",))
"""Metrics that are no shares: a language model's points."""

_TITLE_KEYS = ("title", "paper", "venue")


def seed_entries(path: Path) -> tuple[dict[tuple[str, str], Entry], dict[str, Any]]:
    """Read a seed of published numbers.

    Rows of one method that agree in setting and model become one entry, with every table as a source.

    Returns:
        Entries by (task, file name), and the remarks for ``notes.yaml``.

    Raises:
        EntryError: no seed, or a row that does not make a valid entry; names the row.
    """
    seed = load_yaml(path, LARGEST_SEED)
    if not isinstance(seed, dict) or seed.get("schema") != SCHEMA:
        raise EntryError(f"{path}: schema: expected {SCHEMA!r}")
    try:
        groups = _groups(seed["entries"])
        parameters = {row["method"]: row["parameters_m"] for row in seed.get("efficiency", ())}
        entries = {
            (TASK_NAMES[rows[0]["task"]], name): _entry(rows, seed, parameters)
            for rows, name in zip(groups, _names(groups), strict=True)
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise EntryError(f"{path}: a row lacks or misplaces {error}") from None
    return entries, _notes(seed)


def write_seed(path: Path, folder: Path) -> list[Path]:
    """Write every entry of a seed, and its remarks, below a leaderboard's folder.

    Returns:
        The files written.

    Raises:
        EntryError: as for `seed_entries`.
    """
    entries, notes = seed_entries(path)
    written = [write_entry(folder, name, entry) for (_, name), entry in entries.items()]
    text = yaml.safe_dump(notes, sort_keys=False, allow_unicode=True, width=110)
    return [*written, atomic_write(folder / NOTES_FILE, text)]


def _groups(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of one model, from different tables.

    Rows of the same method and setting group are one model as long as no table has two of them.
    """
    alike: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        alike[row["task"], row["method"], _group(row)].append(row)
    groups = []
    for found in alike.values():
        tables = {(row["source"]["seed"], row["source"]["table"]) for row in found}
        groups += [found] if len(tables) == len(found) else [[row] for row in found]
    return groups


def _group(row: Mapping[str, Any]) -> str:
    return row["setting"].partition("/")[0]


def _names(groups: list[list[dict[str, Any]]]) -> list[str]:
    """A file name per group: the method, and as much of what sets it apart within its task as is needed."""
    levels = []
    for rows in groups:
        row = rows[0]
        details = (_group(row), row.get("visual_backbone"), row.get("pretraining_data"), row["id"])
        levels.append([slug(row["method"]), *(slug(f"{row['method']} {detail}") for detail in details)])
    tasks = [rows[0]["task"] for rows in groups]
    taken = Counter((task, name) for task, names in zip(tasks, levels, strict=True) for name in set(names))
    return [
        next(name for name in names if taken[task, name] == 1)
        for task, names in zip(tasks, levels, strict=True)
    ]


def _first(rows: list[dict[str, Any]], field: str) -> Any:
    """What the first table that fills a field says."""
    return next((row[field] for row in rows if row.get(field)), None)


def _setting(rows: list[dict[str, Any]]) -> str:
    """The first setting that does not leave two possibilities open."""
    return min((row["setting"] for row in rows), key=lambda setting: "_or_" in setting)


def _entry(rows: list[dict[str, Any]], seed: Mapping[str, Any], parameters: Mapping[str, float]) -> Entry:
    row, size = rows[0], _first(rows, "model_size")
    fields = {
        "format": FORMAT,
        "task": TASK_NAMES[row["task"]],
        "method": row["method"],
        "variant": "multi-task" if row.get("multi_task") else None,
        "paper": {"venue": row["venue"], "year": row["year"]},
        "model": {
            "visual": _first(rows, "visual_backbone"),
            "language": _first(rows, "language_backbone") or _first(rows, "language_model"),
            "parameters_m": _millions(size) if size else _parameters(row, parameters),
        },
        "training": {
            "setting": _setting(rows),
            "pretraining": _first(rows, "pretraining_data"),
            "pretraining_size": _first(rows, "pretraining_size"),
        },
        "status": row["status"],
        "results": [result for row in rows for result in _results(row)],
        "notes": list(_remarks(rows)),
        "conflicts": list(_conflicts(rows, seed)),
    }
    try:
        return Entry.model_validate(fields)
    except ValidationError as error:
        raise EntryError(f"{row['id']}: {explain(error)}") from None


def _parameters(row: Mapping[str, Any], parameters: Mapping[str, float]) -> float | None:
    """The efficiency table measures the models that are trained on a single data set."""
    single = row["task"] == "rec" and _group(row) == "single_dataset"
    return parameters.get(row["method"]) if single else None


def _millions(size: str) -> float | None:
    found = re.fullmatch(r"([\d.]+)B", size)
    return float(found[1]) * 1000 if found else None


def _results(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    note = row.get("protocol_read_in_code")
    if note is not None and note not in PROTOCOLS:
        raise EntryError(f"{row['id']}: protocol_read_in_code: {note!r} is not in the table of protocols")
    for dataset, numbers in row["results"].items():
        for records, values in _per_records(row, dataset, numbers):
            known = RECOGNITION_NAMES if row["task"] == "region_recognition" else METRIC_NAMES
            ours = {known.get(name, name): value for name, value in values.items()}
            applies = note is not None and ("RefCOCOg part" not in note or dataset == "refcocog")
            source = {
                "work": row["source"]["seed"],
                "table": row["source"]["table"],
                "row": row["source"]["row"],
            }
            yield {
                "records": records,
                "protocol": PROTOCOLS[note] if note and applies else None,
                "protocol_note": note if applies else None,
                "value": {name: fraction(value, name) for name, value in ours.items()},
                "source": source | {"quoted": next(iter(ours.values())) if len(ours) == 1 else ours},
            }


def _per_records(
    row: Mapping[str, Any], dataset: str, numbers: Mapping[str, float]
) -> Iterator[tuple[str, dict[str, float]]]:
    if dataset in DATASETS:
        for split, value in numbers.items():
            yield f"{DATASETS[dataset]}.{split}", {row["metric"]: value}
    elif dataset == "refcocog" and (row.get("protocol_read_in_code") or "").startswith(GOOGLE_NOTE):
        yield "refcocog.google.val", dict(numbers)
    elif dataset in SINGLE_RECORDS:
        yield SINGLE_RECORDS[dataset], dict(numbers)
    else:
        raise EntryError(f"{row['id']}: results: unknown data set {dataset!r}")


def fraction(printed: float, metric: str) -> float:
    """A printed percentage as the fraction nearest to it; points stay as they are."""
    return float(printed) if metric in IN_POINTS else float(Decimal(str(printed)) / 100)


def _remarks(rows: list[dict[str, Any]]) -> Iterator[str]:
    seen = set()
    for row in rows:
        table = f"{row['source']['seed']}, {row['source']['table']}"
        for key in ("suspect", "note"):
            text = row.get(key)
            if text and text not in seen:
                seen.add(text)
                yield f"{'Doubt: ' if key == 'suspect' else ''}{text} ({table})"
        if row.get("dataset_mixed_mark"):
            yield f"Marked in {table} as trained on a mixture of data sets."


def _conflicts(rows: list[dict[str, Any]], seed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The conflicts of the seed that name a row of this entry, in our names of records and tables."""
    tables = {row["id"]: f"{row['source']['seed']} {row['source']['table']}" for row in seed["entries"]}
    for conflict in seed.get("conflicts", ()):
        if not any(row["id"] in found for found in conflict["values"].values() for row in rows):
            continue
        values = {}
        for place, found in conflict["values"].items():
            dataset, _, split = place.partition("/")
            values[f"{DATASETS[dataset]}.{split}"] = {tables[name]: number for name, number in found.items()}
        yield {"comment": conflict["comment"], "values": values}


def _notes(seed: Mapping[str, Any]) -> dict[str, Any]:
    sources = {
        name: {key: source[key] for key in _TITLE_KEYS if key in source}
        for name, source in seed["sources"].items()
    }
    about = [str(seed["about"])] if seed.get("about") else []
    return {"sources": sources, "notes": about + [str(note) for note in seed.get("notes", ())]}
