"""Twelve boxes that foreign files answer, and how such files are written and read."""

import json

from refkit.leaderboard.readers.convert import import_predictions
from refkit.leaderboard.scoring import score

WIDTH, HEIGHT = 200, 100
BOXES = [(10.0 + 2 * n, 5.0 + n, 60.0 + 8 * n, 40.0 + 4 * n) for n in range(12)]


def put(tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def convert(kind, source, records, space="xyxy-pixel", **options):
    out = records.with_name("out.jsonl")
    report = import_predictions(kind, source, records, out, space, "model", **options)
    return report, out


def accuracy(records, out):
    return score(records, out, draws=0)["acc90"]
