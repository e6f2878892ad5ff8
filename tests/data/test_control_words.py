"""Control words, prompts, tags and cleaned texts against DynRefer's numbers (`tests/golden/dynrefer`)."""

import gzip
import json
import sys
import types

import numpy as np
import pytest

from refkit.data.caption_text import clean_phrase, normalise_caption
from refkit.data.control_words import (
    control_prompt,
    drop_words,
    first_word_prompt,
    join_words,
    parse_words,
    pooled,
)
from refkit.data.pos_tagging import TaggerError, tag_by_rules, tagger_named, tokens_of
from refkit.data.prompts import attribute_prompts, category_prompt, ovad_prompts
from refkit.data.region_tags import RegionTags, TagList, TagListError, graph_tags, phrase_tags


@pytest.fixture(scope="module")
def golden(repository):
    return lambda name: json.loads((repository / f"tests/golden/dynrefer/{name}.json").read_text())


@pytest.fixture(scope="module")
def items(golden):
    return golden("control_words")["items"]


def test_words_of_tagged_captions(items):
    for item in items:
        words = parse_words(tuple(map(tuple, item["pos_tags"])))
        assert sorted(words) == item["words"], item["caption"]
        assert sorted(pooled(item["tag_names"], words)) == item["all_control_words"]
        assert first_word_prompt(words) == item["first_word_control"]


def test_the_rules_agree_with_the_perceptron_on_most_captions(items):
    tokens = sum([t for t, _ in tag_by_rules(i["caption"])] == [t for t, _ in i["pos_tags"]] for i in items)
    assert tokens == len(items)
    same = sum(sorted(parse_words(tag_by_rules(item["caption"]))) == item["words"] for item in items)
    assert same >= 17


def test_normalised_captions(golden):
    for case in golden("control_words")["caption_normalisation"]:
        assert normalise_caption(case["input"]) == case["output"]


def test_cleaned_phrases():
    assert clean_phrase("A Café, 90° - ½ full…") == ["a", "cafe", "90", "degree", "half", "full"]
    assert clean_phrase(" ... ") == []


def test_attribute_and_category_prompts(golden):
    expected = golden("prompts")
    for entry in expected["attribute_prompts"]:
        kind = "has" if " has " in entry["prompts"][1] else "is"
        assert attribute_prompts(entry["name"], kind) == entry["prompts"]
    names = [text.removeprefix("the ").title() for text in expected["category_prompts"]]
    assert [category_prompt(name) for name in names] == expected["category_prompts"]


@pytest.mark.shared
def test_prompts_of_the_published_list(shared, golden):
    with gzip.open(shared / "data/assets/ovad2000.json.gz") as file:
        data = json.load(file)
    expected = golden("prompts")
    assert ovad_prompts(data["attributes"]) == {
        e["name"]: e["prompts"] for e in expected["attribute_prompts"]
    }
    assert [category_prompt(c["name"]) for c in data["categories"]] == expected["category_prompts"]


@pytest.mark.parametrize(("name", "kind"), [("black", "is"), ("color:", "is"), ("color:black", "was")])
def test_attributes_without_type_or_kind(name, kind):
    with pytest.raises(ValueError, match="attribute"):
        attribute_prompts(name, kind)


def test_prompts_are_joined_in_one_order():
    order = ["cat", "Dog", "tree"]
    assert control_prompt(["tree", "cat", "tree"], ["big", "cat"], order) == "cat,tree,big|"
    assert control_prompt(["tree", "own", "cat"], order=order) == "cat,tree,own|"
    assert control_prompt(["tree", "cat"]) == "tree,cat|"
    assert control_prompt([]) == join_words([]) == "|"


def test_words_are_dropped_at_the_stated_rates():
    words, rng = list("abcdefgh"), np.random.default_rng(0)
    drawn = [drop_words(words, rng) for _ in range(4000)]
    assert 0.46 < np.mean([not kept for kept in drawn]) < 0.54
    some = [kept for kept in drawn if kept]
    assert 3.9 < np.mean([len(kept) for kept in some]) < 4.15
    assert all(len(set(kept)) == len(kept) for kept in some)
    assert any(kept != sorted(kept) for kept in some)
    assert sorted(drop_words(words, rng, 0.0, 0.0)) == words
    assert drop_words(words, rng, 1.0) == []
    same = [drop_words(words, np.random.default_rng(7)) for _ in range(2)]
    assert same[0] == same[1]


def test_tokens():
    assert tokens_of("The woman’s hand, don't! 3/4 t-shirt_x") == [
        *("The", "woman", "'s", "hand", "do", "n't", "3/4", "t-shirt", "x")
    ]


def test_parts_of_speech_by_context():
    tags = dict(tag_by_rules("the painted wall on the left is slowly opening 2 glorious glass boxes"))
    assert tags["painted"] == "JJ"
    assert tags["left"] == "NN"
    assert (tags["slowly"], tags["opening"], tags["2"]) == ("RB", "VBG", "CD")
    assert (tags["glorious"], tags["glass"], tags["boxes"]) == ("JJ", "NN", "NNS")
    assert tag_by_rules("") == ()


def test_taggers_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    assert tagger_named() == ("rules", tag_by_rules)
    with pytest.raises(TaggerError, match="pip install nltk"):
        tagger_named("nltk")
    with pytest.raises(TaggerError, match="known are"):
        tagger_named("spacy")


def test_nltk_is_taken_where_it_is_there(monkeypatch):
    """NLTK is optional, so an object with its one function stands in for it."""
    asked = types.SimpleNamespace(pos_tag=lambda tokens: [(token, "NN") for token in tokens])
    monkeypatch.setitem(sys.modules, "nltk", asked)
    name, tag = tagger_named("auto")
    assert name == "nltk"
    assert tag("red dog!") == (("red", "NN"), ("dog", "NN"))


@pytest.fixture
def known():
    return TagList(["Shirt", "man", "red", "t shirt", "bus", "decker bus", "parked", "street", "on"])


def test_tags_of_a_scene_graph(known):
    graph = {
        "entities": [
            {
                "head": "bus",
                "lemma_span": "a red decker bus",
                "modifiers": [{"dep": "det", "span": "on"}, {"dep": "amod", "span": "red"}],
            },
            {"head": "streets", "lemma_span": "the street", "modifiers": []},
        ],
        "relations": [{"subject": 0, "object": 1, "relation": "parked"}],
    }
    assert graph_tags(graph, known) == RegionTags(("red", "bus", "decker bus"), ("parked", "street"))
    assert graph_tags(graph, known).all == ("red", "bus", "decker bus", "parked", "street")
    with pytest.raises(TagListError, match="scene graph"):
        graph_tags({"entities": []}, known)


def test_tags_of_parts_of_speech(known):
    tagged = tag_by_rules("red double decker buses parked on the street")
    assert phrase_tags(tagged, known) == RegionTags(("red", "bus", "decker bus"), ("parked", "street", "on"))
    assert phrase_tags(tag_by_rules("it is"), known) == RegionTags()
    assert TagList(["puppy"]).among(["Puppy ", "dog"]) == ("puppy",)
    assert phrase_tags(tag_by_rules("two puppies and boxes"), TagList(["puppy", "box"])).all == (
        "puppy",
        "box",
    )


def test_lists_of_tags(known, tmp_path):
    path = tmp_path / "tags.txt"
    path.write_text("cat\nDog\n")
    assert TagList.read(path).tags == ("cat", "Dog")
    assert known.by_place([1, 0, 1]) == ("Shirt", "man")
    for text in ("", "cat\n\ndog\n"):
        path.write_text(text)
        with pytest.raises(TagListError, match=r"tags\.txt"):
            TagList.read(path)
    with pytest.raises(TagListError, match="not a list"):
        TagList.read(tmp_path / "none.txt")
    with pytest.raises(TagListError, match="outside a list of 9"):
        known.by_place([9])


@pytest.mark.shared
def test_the_published_list_of_tags(shared, golden):
    tags, expected = TagList.read(shared / "data/assets/ram_tag_list.txt"), golden("tag_list_probe")
    assert len(tags.tags) == expected["count"]
    assert tags.digest == expected["sha256_of_stripped_lines_joined_by_newline"]
    for place, tag in expected["probe"].items():
        assert tags.by_place([int(place)]) == (tag,)
    for item in golden("control_words")["items"]:
        assert sorted(tags.by_place([*item["tag_set1"], *item["tag_set2"]])) == item["tag_names"]
