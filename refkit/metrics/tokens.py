"""Tokens of captions: the Penn Treebank tokeniser of Stanford CoreNLP 3.4.1, as COCO's caption tools use it.

With Java and ``pycocoevalcap`` the original program is run, once for all texts. Without them, `plain_tokens`
stands in for it, and whoever calls is told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from refkit.metrics.java_tools import CaptionToolError, LineProgram, find_jar, find_java

Tokens = tuple[str, ...]

PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
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


def tokenize(texts: Iterable[str]) -> tuple[dict[str, Tokens], str]:
    """The tokens of each text, in lower case, without punctuation.

    Args:
        texts: any number; equal ones are tokenised once.

    Returns:
        Tokens by text, and a warning: empty when the original tokeniser did it.
    """
    wanted = list(dict.fromkeys(texts))
    try:
        return dict(zip(wanted, _java_tokens([one_line(text) for text in wanted]), strict=True)), ""
    except CaptionToolError as error:
        warning = (
            "the captions were tokenised by refkit's own rules, not by the Penn Treebank tokeniser, so that "
            f"scores can differ slightly from published ones: {error}"
        )
        return {text: plain_tokens(text) for text in wanted}, warning


def _java_tokens(lines: list[str]) -> list[Tokens]:
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


_QUOTED = re.compile(r"[\"“”„«»]|''|``|[‘’]{2}")
_BRACKETS = {"(": " -lrb- ", ")": " -rrb- ", "[": " -lsb- ", "]": " -rsb- ", "{": " -lcb- ", "}": " -rcb- "}
_ENDING = re.compile(r"(?i)(n[’']t|[’'](?:s|m|d|ll|re|ve))\b")
_TOKEN = re.compile(
    r"-l[rsc]b-|-r[rsc]b-|n't|'(?:s|m|d|ll|re|ve)\b|\d+(?:[.,:/]\d+)+|(?:[^\W\d_]\.){2,}|"
    r"[\w&]+(?:[-'.@/&_][\w&]+)*|\.{2,}|[^\w\s]"
)


def plain_tokens(text: str) -> Tokens:
    """Tokens by a few rules of the Penn Treebank: clitics and punctuation apart, hyphenated words whole."""
    line = _QUOTED.sub(" ", one_line(text)).lower().replace("’", "'").replace("cannot", "can not")
    for bracket, name in _BRACKETS.items():
        line = line.replace(bracket, name)
    line = _ENDING.sub(r" \1", line)
    return tuple(token for token in _TOKEN.findall(line) if token not in PUNCTUATION and token.strip("."))
