"""Measure `refkit leaderboard build` on invented entries: tools/benchmark_site.py [--entries N] [--json FILE]

Prints wall clock and processor seconds of building the site, and how many pages it has.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

RECORDS = ("refcoco.unc.val", "refcoco.unc.testA", "refcoco.unc.testB", "refcocog.umd.val")
YEARS = 9


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=150)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.entries < 1:
        parser.error("--entries is at least 1")
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), arguments.entries)
    print(json.dumps(report, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def measure(folder: Path, count: int) -> dict[str, float]:
    """One build of a site of so many reported methods."""
    from refkit.leaderboard.entries.files import write_entry
    from refkit.leaderboard.entries.schema import Entry
    from refkit.leaderboard.site.build import build_site

    for number in range(count):
        entry = Entry.model_validate(invented(number, count))
        write_entry(folder / "entries", entry.method, entry)
    wall, processor = time.perf_counter(), time.process_time()
    summary = build_site(folder / "entries", folder / "site")
    return {
        "entries": summary.entries,
        "pages": len(list((folder / "site").rglob("*.html"))),
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - processor, 2),
    }


def invented(number: int, count: int) -> dict[str, Any]:
    """The fields of one entry with a number for every set."""
    results = []
    for place, records in enumerate(RECORDS):
        value = 0.5 + 0.4 * number / count + 0.01 * place
        source = {"work": "invented", "table": "1", "row": number, "quoted": 100 * value}
        results.append({"records": records, "value": {"acc50": value}, "source": source})
    return {
        "format": "refkit.entry/1",
        "task": "rec",
        "method": f"Method {number}",
        "status": "reported",
        "results": results,
        "training": {"setting": "single_dataset"},
        "paper": {"year": 2018 + number % YEARS},
        "model": {"parameters_m": 10.0 + number, "visual": f"ViT {number % 5}"},
    }


if __name__ == "__main__":
    main()
