"""Ask Java how it splits the texts that the port of its tokeniser is tested with.

tools/ptb_reference.py SHARED [--add FILE] needs Java and pip install 'refkit[captions]'. It rewrites
tests/golden/eval/ptb.json.gz: Java's tokens of the texts in it, and one digest of Java's tokens for each file
of captions under SHARED. --add FILE adds texts, one per line. Texts that the port splits otherwise are listed
as known differences.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from refkit.data.files import atomic_write
from refkit.metrics.ptb import ptb_tokens
from refkit.metrics.tokens import java_tokens, one_line

GOLDEN = Path(__file__).resolve().parents[1] / "tests/golden/eval/ptb.json.gz"
FILES = ("parity/dynrefer/caption_eval.json", "fixtures/eval/captions.json")
FOLDERS = ("data/predictions/reg", "data/refcoco_full_eval")
KEYS = {"expressions", "sent", "references", "candidates", "hypothesis"}


def caption_files(shared: Path) -> Iterator[Path]:
    """The files of captions and expressions, in a fixed order."""
    yield from (shared / name for name in FILES)
    for folder in FOLDERS:
        yield from sorted(path for path in (shared / folder).iterdir() if ".json" in path.name)


def captions(path: Path) -> list[str]:
    """The different texts of a file, sorted, each in one line."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    content = [json.loads(line) for line in text.splitlines()] if ".jsonl" in path.name else json.loads(text)
    return sorted({one_line(text) for text in _texts(content, False)})


def _texts(content: Any, wanted: bool) -> Iterator[str]:
    """Texts below one of `KEYS`."""
    if isinstance(content, str):
        if wanted:
            yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(value, wanted or key in KEYS)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value, wanted)


def digest(tokens: Iterable[tuple[str, ...]]) -> str:
    """One digest for the tokens of all texts."""
    return hashlib.sha256("\n".join(" ".join(one) for one in tokens).encode()).hexdigest()


def main() -> None:
    """Ask and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path)
    parser.add_argument("--add", type=Path, help="a file of further texts")
    arguments = parser.parse_args()
    texts = set(json.loads(gzip.decompress(GOLDEN.read_bytes()))["tokens"]) if GOLDEN.exists() else set()
    if arguments.add:
        texts |= {line for line in map(one_line, arguments.add.read_text("utf-8").splitlines()) if line}
    tokens = {text: " ".join(one) for text, one in apart(sorted(texts)).items()}
    content = {
        "tokens": tokens,
        "known_differences": [text for text, one in tokens.items() if " ".join(ptb_tokens(text)) != one],
        "digests": {
            path.relative_to(arguments.shared).as_posix(): [len(known), digest(java_tokens(known))]
            for path in caption_files(arguments.shared)
            for known in [captions(path)]
        },
    }
    atomic_write(GOLDEN, json.dumps(content, ensure_ascii=False, indent=0))
    print(f"{len(tokens)} texts, {len(content['known_differences'])} known differences")


def apart(texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Java's tokens of each text by itself: a dot at the end can depend on how the next line begins."""
    lines = [line for text in texts for line in (text, "next")]
    return dict(zip(texts, java_tokens(lines)[::2], strict=True))


if __name__ == "__main__":
    main()
