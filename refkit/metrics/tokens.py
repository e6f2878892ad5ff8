"""Tokens of captions: the Penn Treebank tokeniser of Stanford CoreNLP 3.4.1, as COCO's caption tools use it.

With Java and ``pycocoevalcap`` the original program is run, once for all texts. Without them the port in
`refkit.metrics.ptb` does it; which of the two it was is part of the answer, and of every result.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tqdm import tqdm

from refkit.metrics.java_tools import BAR, CaptionToolError, LineProgram, find_jar, find_java
from refkit.metrics.ptb import PUNCTUATION, Tokens, ptb_tokens

JAVA, PORT = "ptb-java", "ptb-refkit"
JAR = "stanford-corenlp-3.4.1.jar"
OPTIONS = ("-preserveLines", "-lowerCase", "-encoding", "UTF-8")
SEPARATORS = frozenset(("Cc", "Zl", "Zp"))


def one_line(text: str) -> str:
    """A text without line breaks and control characters; each becomes a blank.

    Line separators of any kind (U+2028, vertical tab, form feed, …) would otherwise split a text into two
    and shift all texts after it.
    """
    if text.isprintable():
        return text.strip()
    kept = (" " if unicodedata.category(character) in SEPARATORS else character for character in text)
    return "".join(kept).strip()


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Tokens of texts and who made them.

    Attributes:
        tokens: by text, in lower case, without punctuation.
        tokenizer: ``ptb-java``, the original program, or ``ptb-refkit``, `refkit.metrics.ptb`.
    """

    tokens: Mapping[str, Tokens]
    tokenizer: str


def tokenize(texts: Iterable[str]) -> Tokenized:
    """Split texts into tokens, with Java where it is installed.

    Args:
        texts: any number; equal ones are tokenised once.
    """
    lines = {text: one_line(text) for text in texts}
    try:
        return Tokenized(dict(zip(lines, java_tokens(list(lines.values())), strict=True)), JAVA)
    except CaptionToolError:
        return Tokenized(
            {text: ptb_tokens(line) for text, line in tqdm(lines.items(), desc="PTB tokens", **BAR)}, PORT
        )


def java_tokens(lines: list[str]) -> list[Tokens]:
    """What the original program answers to lines without line breaks; none for an empty one.

    Raises:
        CaptionToolError: it is not installed or failed.
    """
    asked = [line for line in lines if line]
    answers = iter(_run(asked) if asked else ())
    return [_without_punctuation(next(answers)) if line else () for line in lines]


def _run(lines: list[str]) -> list[str]:
    java, jar = find_java(), find_jar("tokenizer", JAR)
    command = (java, "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", *OPTIONS)
    program = LineProgram(command, "PTB tokeniser")
    try:
        return program.ask_once(lines)
    finally:
        program.close()


def _without_punctuation(line: str) -> Tokens:
    return tuple(token for token in line.split() if token not in PUNCTUATION)
