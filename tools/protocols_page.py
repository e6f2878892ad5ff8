"""Write docs/pages/protocols.md from the texts that the code carries.

python tools/protocols_page.py
"""

from __future__ import annotations

from pathlib import Path

from refkit.data.files import atomic_write
from refkit.metrics.known_numbers import KNOWN_NUMBERS
from refkit.metrics.protocol import Protocol, protocols

PAGE = Path(__file__).resolve().parents[1] / "docs/pages/protocols.md"

FAMILIES = {
    "rec": "Referring expression comprehension",
    "phrase": "Phrase grounding",
    "grec": "Generalised comprehension",
    "res": "Referring expression segmentation",
    "gres": "Generalised segmentation",
    "reason": "Reasoning segmentation",
    "caption": "Region captioning",
    "densecap": "Dense captioning",
    "attributes": "Attributes of given boxes",
    "recognition": "Category of given boxes",
}
HEAD = """\
# Protocols

<!-- written by tools/protocols_page.py; do not edit by hand -->

A protocol is a frozen text with an id and the code that does what the text says; a test keeps the texts as
they are, so a changed rule needs a new id. `refkit score RECORDS PREDICTIONS --protocol ID` scores under one
of them, `--protocol all` puts all that fit the records side by side, which is the fastest answer to "why is
my number different". `rec/1`, `res/1` and `grec/1` are the ones to report; the others reproduce what
published code does.

Under every protocol an unanswered record is wrong and lowers the coverage; an answer that cannot be used is
wrong, too, and counted as invalid; an unknown id, an id twice, another digest and a mask of another size are
errors.

METEOR and the Penn Treebank tokeniser are Java programs that come with `pip install 'refkit[captions]'`.
Where Java or that package is missing, everything but METEOR is still reported, with tokens by refkit's own
port of the tokeniser (`refkit.metrics.ptb`). A result says under `tools` which of the two it was: `ptb-java`
or `ptb-refkit`. Compared with the original, the port gives the same tokens for

- all 43,045 different expressions of the RefCOCO, RefCOCO+ and RefCOCOg evaluation splits and all generated
  expressions that came with the REFER tools,
- all 158,439 different sentences and phrases of Flickr30k Entities and all 185,038 different texts of
  ReferItGame's files (measured once, version 3.4.1 of the tokeniser).

It is known to differ in these cases; tests/golden/eval/ptb.json.gz holds examples.

- The original reads on into the next line: whether the dot after a single letter or after "no" at the end of
  a caption stays with its word depends on how the next caption of the file begins. The port treats every
  caption by itself.
- Its tables of letters are those of an old Unicode. Accents written as characters of their own, some marks of
  Indian and other scripts, and pictograms beyond the basic plane may be kept, joined or dropped otherwise.
- Words that run into each other without a blank after an apostrophe or a dot (`Cannot'sred`, `ga.m:the`).

## Which famous number is which protocol

| published number | protocol | what it is |
|---|---|---|
"""
AFTER_TABLE = """
Published predictions reproduce: all 28 files of VLM-R1 give the accuracy that their authors logged under
`rec/vlm-r1`. One of them, the untrained model on RefCOCO val, was logged as 0.0, because its authors rescaled
boxes that were already in pixels; the boxes in its raw text give 89.4. The generated expressions that came
with the REFER tools give BLEU-1 .480, METEOR .172, ROUGE-L .414 and CIDEr .669 under `caption/region`, as
printed then.
"""


def render() -> str:
    """The text of the page."""
    rows = [
        f"| {one.number} | [`{one.protocol}`](#{anchor(one.protocol)}) | {one.note} |"
        for one in KNOWN_NUMBERS
    ]
    parts = [HEAD + "\n".join(rows) + "\n" + AFTER_TABLE]
    for family, title in FAMILIES.items():
        parts.append(f"\n## {title}\n")
        parts += [_section(one) for one in protocols().values() if one.id.partition("/")[0] == family]
    return "".join(parts)


def anchor(identifier: str) -> str:
    """The anchor of a protocol's heading."""
    return identifier.replace("/", "-")


def _section(protocol: Protocol) -> str:
    _, _, definition = protocol.text.partition(": ")
    metrics = ", ".join(f"`{name}` ({label})" for name, label in protocol.labels.items())
    text = definition[:1].upper() + definition[1:]
    reads = f"Reads `{protocol.answer}`; records of the task `{protocol.task}`. Metrics: {metrics}."
    return f"\n### {protocol.id} {{#{anchor(protocol.id)}}}\n\n{text}\n\n{reads}\n"


if __name__ == "__main__":
    atomic_write(PAGE, render())
