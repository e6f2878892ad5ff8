"""Subject and object of expressions, by the rules and by the parsers' names."""

import pytest
from typer.testing import CliRunner

from refkit.cli.main import app
from refkit.data.records import read_records
from refkit.data.roles import ParserError, Roles, parser_named, roles_by_rules, write_roles

runner = CliRunner()

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


def test_roles_are_stored_with_the_records(tmp_path):
    source, parsed = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    drawn = runner.invoke(app, ["data", "import", "refshapes", "--scenes", "4", "--out", str(source)])
    assert drawn.exit_code == 0
    result = runner.invoke(app, ["data", "parse", str(source), "--out", str(parsed)])
    assert result.exit_code == 0, result.output
    before, records = read_records(source)
    after, with_roles = read_records(parsed)
    assert before.digest == after.digest
    assert f"{len(records)} records, {len(records)} subjects" in result.output
    for record in with_roles:
        assert record.facts["roles"] == roles_by_rules(record.text).to_json()
        assert record.facts["parser"] == "rules"


def test_records_are_not_written_over_themselves(tmp_path):
    path = tmp_path / "in.jsonl"
    runner.invoke(app, ["data", "import", "refshapes", "--scenes", "2", "--out", str(path)])
    with pytest.raises(ParserError, match="not written over"):
        write_roles(path, path)
