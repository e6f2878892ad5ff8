"""Subject and object of expressions, by the rules and by the parsers' names."""

import pytest

from refkit.data.roles import ParserError, Roles, parser_named, roles_by_rules

PHRASES = {
    "the man in the red shirt": ("man", "shirt"),
    "woman on the left holding an umbrella": ("woman", "umbrella"),
    "left giraffe": ("giraffe", None),
    "man left": ("man", None),
    "the dog that is lying next to the chair": ("dog", "chair"),
    "a black and white cat": ("cat", None),
    "the man riding a motorcycle": ("man", "motorcycle"),
    "building on the right": ("building", None),
    "green bus behind the yellow taxi": ("bus", "taxi"),
    "second sandwich from the right": ("sandwich", None),
    "kid with blue hat": ("kid", "hat"),
    "": (None, None),
}


@pytest.mark.parametrize("text", PHRASES)
def test_rules_find_subject_and_object(text):
    assert roles_by_rules(text) == Roles(*PHRASES[text])


def test_what_there_is_not_is_not_stored():
    assert Roles("cat").to_json() == {"subject": "cat"}
    assert Roles().to_json() == {}


def test_parsers_by_name():
    assert parser_named("rules") is roles_by_rules
    with pytest.raises(ParserError, match="known are rules and spacy"):
        parser_named("stanza")
    try:
        import spacy  # noqa: F401
    except ImportError:
        with pytest.raises(ParserError, match="en_core_web_md"):
            parser_named("spacy")
