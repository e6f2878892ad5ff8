"""The Penn Treebank tokens of captions without Java: a small port of what Stanford's tokeniser does.

COCO's caption tools run ``edu.stanford.nlp.process.PTBTokenizer`` of CoreNLP 3.4.1 with ``-preserveLines
-lowerCase`` and drop punctuation afterwards. The rules here are written from the conventions of the Penn
Treebank and from that program's answers to several hundred thousand short texts; the page on protocols says
where the two still differ. At each place of a text the rule that reaches furthest wins, the first of equals.
"""

from __future__ import annotations

import re

Tokens = tuple[str, ...]

PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
"""What the caption tools drop. Brackets are in lower case by then (``-lrb-``), so they stay."""

NUMERALS = "²³¹¼½¾\u2070-\u209c\u2150-\u218b\u2460-\u24ff"
LETTER = rf"(?:[^\W\d_{NUMERALS}]|[\u0300-\u036f\xad])"
ALNUM = rf"(?:{LETTER}|\d)"
QUOTE = "['’]"
BACKQUOTE = "['’`]"

ABBREVIATIONS = (
    "adj|adm|adv|al|ala|alex|apr|ariz|assn|assoc|asst|atty|attys|aug|ave|bhd|bldg|blvd|brig|bros|"
    "calif|capt|cf|cie|cmdr|co|col|colo|conn|corp|cos|cpl|ct|dak|dec|dept|det|dr|drs|elec|ens|esq|est|"
    "etc|ext|feb|fla|fri|ft|ga|gen|gov|govs|hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun|kan|kans|ky|"
    "lt|ltd|maj|mar|md|messrs|mfg|mich|minn|mlle|mme|mo|mon|mont|mr|mrs|ms|msgr|mt|mtg|natl|neb|nev|"
    "nov|oct|okla|penn|pfc|ph|plc|ppte|pptes|ppty|pptys|pres|prof|pte|ptes|pty|ptys|pvt|rd|rep|reps|"
    "rev|rt|sen|sens|sep|sept|seq|sfc|sgt|spc|sq|sr|st|ste|supt|sys|tel|tenn|thu|thurs|treas|tue|tues|"
    "univ|va|vs|vt|wed|wis|wisc|wm|wyo"
)
STATES = "Ark|Az|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash"
"""Abbreviations in capitals, words otherwise."""
NUMBERED = "art|ca|fig|figs|no|nos|op|pp|prop"
STARTERS = (
    "a|about|according|additionally|after|an|as|at|but|earlier|he|her|here|however|if|in|it|last|many|"
    "more|now|once|one|other|our|she|since|so|some|such|that|the|their|then|there|these|they|this|we|"
    "what|when|while|yet|you"
)
"""A letter and a dot before one of these in capitals end a sentence and are no initial."""
FILE_TYPES = (
    "bat|bmp|c|cgi|class|cpp|dll|doc|docx|exe|gif|gz|h|htm|html|jar|java|jpeg|jpg|mov|mp3|pdf|php|pl|"
    "png|ppt|ps|py|sql|tar|txt|wav|x|xml|zip"
)

TWO_WORDS = ("can", "not"), ("gon", "na"), ("got", "ta"), ("wan", "na"), ("gim", "me"), ("lem", "me")
SHORT = (
    rf"(?:(?i:{ABBREVIATIONS})|{STATES}|{STATES.upper()}|[Pp]h\.D"
    rf"|{LETTER}(?:\.{LETTER})*)\."
)
CLITIC = rf"(?i:'(?:ll|re|ve|s|m|d)(?!{LETTER})|’(?:ll|re|ve|s|m|d))"
PART = rf"(?:(?i:[dlo]{QUOTE})(?={LETTER}{{2}}))?{ALNUM}+"
HYPHENATED = rf"{PART}(?:[-_]{PART})*"
SLASHED = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
ADDRESS = r"[^\s\"<>|(){}]"
VALUE = r"(?:\"[^\"]*\"|'[^']*'|[\w:.-]+)"

RULES = tuple(
    re.compile(pattern)
    for pattern in (
        # words that are two, negations, clitics
        *(rf"(?i:({first}){second})(?!{ALNUM})" for first, second in TWO_WORDS),
        rf"(?i:([a-z]+?)n{BACKQUOTE}t)",
        rf"(?i:n{BACKQUOTE}t)",
        CLITIC,
        rf"({LETTER}+){CLITIC}",
        r"(?i:('t)(?:is|was))",
        # apostrophes that belong to a word
        rf"(?i:(y{QUOTE}){LETTER})",
        rf"(?i:{QUOTE}(?:till?|em|cause)|{QUOTE}n{QUOTE}|{QUOTE}n(?!{LETTER}))",
        rf"{QUOTE}\d\d(?=\s|$)|{QUOTE}\d0s",
        rf"(?i:(?:dunkin|[djl]|ol){QUOTE})",
        rf"(?i:cap{QUOTE}n|c{QUOTE}mon|ev{QUOTE}ry|nat{QUOTE}l|li{QUOTE}l|s{QUOTE}mores)",
        rf"(?i:{LETTER}+[aeiouy]{BACKQUOTE}[aeiou]{LETTER}*|e{QUOTE}er|[dlno]{BACKQUOTE}{LETTER}+)",
        # words, and what joins them
        rf"{LETTER}{ALNUM}*(?:[.!?]{LETTER}{ALNUM}*)*",
        rf"{LETTER}{ALNUM}*(?:\.{LETTER}{ALNUM}*)*(?:-{ALNUM}+)*",
        HYPHENATED,
        rf"{SLASHED}(?:\\?/{SLASHED}){{1,2}}",
        rf"([A-Za-z])\.\s+(?:{STARTERS.title()}|{STARTERS.upper()})(?=\s|$)",
        rf"{SHORT}(?:-{ALNUM}+)*",
        rf"(?i:(?:{NUMBERED})\.)(?=\s?\d)",
        rf"({HYPHENATED}\.)[,;:]",
        r"[A-Z]+(?:(?:[&+]|&amp;)[A-Z]+)+|[A-Z]+\$|[cC]\+\+|[cCfF]#",
        # numbers
        r"[-+]?(?:\d+(?:[.,:]\d+)*|(?:[.,:]\d+)+)",
        rf"{ALNUM}+[.,]{ALNUM}+(?:-{ALNUM}+)+",
        r"(?:\d{1,4}[- \xa0])?\d{1,4}\\?/\d{1,4}",
        # addresses, files, markup, faces
        rf"(?:{LETTER}{ALNUM}*\.)+(?:com|net|org|edu)/{ADDRESS}+[^\s\"<>|(){{}}.,;:!?]",
        rf"https?://{ADDRESS}+\.{ADDRESS}*[^\s\"<>|(){{}}.,;:!?']",
        rf"[A-Za-z0-9]{ADDRESS}*@(?:[^\s\"<>|(){{}}.]+\.)*[^\s\"<>|(){{}}.]+",
        r"@[A-Za-z_]\w*|@+",
        rf"#{LETTER}+|#+",
        rf"(?i:{ALNUM}+\.(?:{FILE_TYPES}))(?!{ALNUM})",
        rf"<!--[^>]*-->|</?[A-Za-z_!][\w:.-]*(?:\s+[\w:.-]+(?:\s*=\s*{VALUE})?)*\s*/?>",
        r"&(?:amp|lt|gt|quot|apos|nbsp);|&#\d+;",
        r"(?i:-[lr][rcs]b-)",
        r"[<>]?[:;=][-'o*]?[()DPdpO@|{\\\[\]](?![A-Za-z0-9])",
        r"[-^x=~<>']_[-^x=~<>']",
        # marks
        r"\.{3,}|\. \. \.|-{5,}|-{1,4}|[!?]+|_+|\*+|<<|>>|\\\*|`*[‘’‛“”«»‹›][`‘’‛“”«»‹›]*|'{1,2}|`{1,2}|\S",
    )
)
"""A group is the token of its pattern; what follows it counts only for which rule reaches furthest."""

LETTERS = re.compile(r"[A-Za-z ]*")
PLAIN_WORD = re.compile(r"\s*([A-Za-z]+)(?=\s|$)|\s+")
SPLIT_WORDS = {first + second: (first, second) for first, second in TWO_WORDS}
QUOTES = re.compile(rf"(?i:{CLITIC}|n’t)|[`‘’‛“”«»‹›]+")
ASCII_QUOTES = str.maketrans(
    {
        **dict.fromkeys("‘‛‹", "`"),
        **dict.fromkeys("’›", "'"),
        **dict.fromkeys("“«", "``"),
        **dict.fromkeys("”»", "''"),
    }
)
ELLIPSIS = re.compile(r"\.{3,}|\. \. \.|-{3,4}")
WITHIN = str.maketrans({"(": "-lrb-", ")": "-rrb-", "\xad": None})
ALONE = {
    **{"[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", '"': "''"},
    **{
        "½": "1/2",
        "¼": "1/4",
        "¾": "3/4",
        "⅓": "1/3",
        "⅔": "2/3",
        "…": "...",
        "–": "--",
        "—": "--",
        "―": "--",
    },
    **{"€": "$", "¤": "$", "₠": "$", "£": "#", "¢": "cents"},
    **{"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": "''", "&apos;": "'", "&nbsp;": ""},
}
BEYOND = "\u2bff"
"""The original knows no mark past this one and drops what it does not know, such as pictograms."""


def ptb_tokens(text: str) -> Tokens:
    """The tokens of a text in one line, in lower case, without punctuation.

    Args:
        text: without line breaks, see `refkit.metrics.tokens.one_line`.
    """
    if LETTERS.fullmatch(text):
        words = text.lower().split()
        if SPLIT_WORDS.keys().isdisjoint(words):
            return tuple(words)
    return tuple(_scan(text))


def _scan(text: str) -> list[str]:
    found: list[str] = []
    place = 0
    while place < len(text):
        plain = PLAIN_WORD.match(text, place)
        if plain is None:
            token = _longest(text, place)
            place += len(token)
            found += _spelled(token)
            continue
        place = plain.end()
        if plain[1] is not None:
            word = plain[1].lower()
            found += SPLIT_WORDS.get(word, (word,))
    return found


def _longest(text: str, place: int) -> str:
    """The token that begins at a place that is no blank."""
    best, token = 0, ""
    for rule in RULES:
        match = rule.match(text, place)
        if match is not None and match.end() > best:
            best, token = match.end(), match[1] if rule.groups else match[0]
    return token


def _spelled(token: str) -> Tokens:
    """A token as Java writes it; none where that is punctuation or nothing."""
    if ELLIPSIS.fullmatch(token) or (len(token) == 1 and token > BEYOND and not token.isalnum()):
        return ()
    if QUOTES.fullmatch(token):
        token = token.translate(ASCII_QUOTES)
    token = ALONE.get(token, token.translate(WITHIN).lower())
    # the blank within `5 1/2` parts it again, as it does where scores split tokens
    return tuple(part for part in token.split() if part not in PUNCTUATION)
