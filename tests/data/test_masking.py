"""Referring-aware dynamic masking: exact numbers, the reference's statistics, and the words hidden first."""

import json
from pathlib import Path

import numpy as np
import pytest

from refkit.backbones import SentencePieceTokenizer, WordTokenizer
from refkit.data.collate import collate
from refkit.data.masking import hide_patches, hide_words, region_of
from refkit.data.roles import ParserError, Roles, parser_named, roles_by_rules
from refkit.data.transforms import HidePatches, HideWords
from refkit.structures import Frame, ReferringSample

STATISTICS = json.loads(
    (Path(__file__).parents[1] / "golden" / "oneref" / "dynamic_masking_stats.json").read_text()
)
GRID = tuple(STATISTICS["grid"])
BOXES = STATISTICS["boxes"]
DRAWS = 400


def region(facts):
    x, y, width, height = np.asarray(facts["box_cxcywh"]) * 384
    return region_of(
        np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]), (384, 384), GRID
    )


def draws(rule, box, count=DRAWS):
    return np.stack(
        [hide_patches(box, GRID, np.random.default_rng(seed), rule).reshape(GRID) for seed in range(count)]
    )


@pytest.mark.parametrize("name", BOXES)
def test_published_masks_have_the_statistics_of_the_released_code(name):
    facts = BOXES[name]
    box = region(facts)
    assert box.tolist() == facts["region_patches_x0y0x1y1"]
    masks = draws("published", box)
    inside = masks[:, box[1] : box[3], box[0] : box[2]].reshape(DRAWS, -1)
    assert set(inside.sum(axis=1)) == {facts["inside_masked_count"]}
    if inside.shape[1] == masks[0].size:
        return
    outside = (masks.reshape(DRAWS, -1).sum(axis=1) - inside.sum(axis=1)) / (576 - inside.shape[1])
    spread = facts["std_ratio_outside"]
    assert abs(outside.mean() - facts["mean_ratio_outside"]) < 3 * spread / np.sqrt(DRAWS) + 1e-9
    assert outside.std() == pytest.approx(spread, rel=3 / np.sqrt(2 * DRAWS))


@pytest.mark.parametrize("name", BOXES)
def test_blocks_of_the_paper_reach_the_ratio_and_are_blocks(name):
    box = region(BOXES[name])
    paper, published = draws("paper", box, 100), draws("published", box, 100)
    inside = [masks[:, box[1] : box[3], box[0] : box[2]] for masks in (paper, published)]
    assert (inside[0].mean(axis=(1, 2)) >= 0.75).all()

    def borders(masks):
        return (masks[:, 1:] != masks[:, :-1]).mean() if masks.shape[1] > 1 else 0.0

    assert borders(inside[0]) <= borders(inside[1])


def test_uniform_masks_do_not_know_the_region():
    masks = draws("uniform", region(BOXES["medium"]))
    assert set(masks.reshape(DRAWS, -1).sum(axis=1)) == {202}


def test_a_region_without_patches_leaves_the_context():
    assert hide_patches(np.zeros(4, np.int64), GRID, np.random.default_rng(0)).sum() == 202


def test_hidden_words_have_the_released_number_shares_and_order():
    ids = np.array([0, 10, 11, 12, 13, 14, 2, 1, 1])
    changes = []
    for seed in range(2000):
        changed, masked = hide_words(ids, 7, [3, 1], np.random.default_rng(seed), 99, range(3, 100))
        assert masked.sum() == 2 and masked[3] and masked[1]  # int(0.4 * 6 + 0.5) = 2
        assert not masked[0] and not masked[7:].any()
        assert (changed[~masked] == ids[~masked]).all()
        changes.append(changed[3])
    shares = np.array([np.mean(np.array(changes) == value) for value in (99, 12)])
    assert abs(shares[0] - 0.8 - 0.1 / 97) < 3 * np.sqrt(0.16 / 2000)
    assert abs(shares[1] - 0.1 - 0.1 / 97) < 3 * np.sqrt(0.09 / 2000)


@pytest.mark.parametrize(("length", "number"), [(2, 1), (3, 1), (5, 2), (64, 25)])
def test_at_least_one_word_is_hidden_and_the_number_follows_the_length(length, number):
    ids = np.arange(100, 164)
    _, masked = hide_words(ids, length, [], np.random.default_rng(0), 9, range(3, 9))
    assert masked.sum() == number


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


def test_parsers_by_name():
    assert parser_named("rules") is roles_by_rules
    with pytest.raises(ParserError, match="known are rules and spacy"):
        parser_named("stanza")
    try:
        import spacy  # noqa: F401
    except ImportError:
        with pytest.raises(ParserError, match="en_core_web_md"):
            parser_named("spacy")


def sample(text, boxes=((24, 24, 60, 48),), **meta):
    return ReferringSample(
        id="a",
        text=text,
        frame=Frame.identity(96, 96),
        image=np.zeros((96, 96, 3), np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        meta=meta,
    )


def test_transforms_hide_the_roles_and_collate_stacks_what_they_add():
    words = ["[pad]", "[unk]", "dog", "chair", "the", "near", "big", "[start]", "[end]"]
    tokenizer = WordTokenizer(words, context_length=10)
    chain = [HidePatches(grid=8), HideWords(tokenizer)]

    def through(item, seed):
        for step in chain:
            item = step(item, np.random.default_rng(seed))
        return item

    batch = [through(sample("the big dog near the chair"), seed) for seed in (1, 2)]
    for item in batch:
        assert item.extras["token_masked"][[3, 6]].all()
        assert item.extras["patch_masked"].shape == (64,)
    stored = through(sample("the big dog near the chair", roles={"subject": "big", "object": None}), 1)
    assert stored.extras["token_masked"][2]
    inputs = collate(batch)["inputs"]
    assert inputs["patch_masked"].shape == (2, 64) and inputs["masked_token_ids"].shape == (2, 10)
    with pytest.raises(ValueError, match="has extras"):
        collate([batch[0], sample("dog")])


def test_same_seed_same_masks_and_no_target_hides_context_only():
    step = HidePatches(grid=8, rule="paper")
    first, again = (step(sample("dog"), np.random.default_rng(3)).extras["patch_masked"] for _ in range(2))
    assert (first == again).all()
    assert step(sample("dog", boxes=()), np.random.default_rng(0)).extras["patch_masked"].sum() == 64 - int(
        64 * 0.65
    )


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="rule='block'"):
        HidePatches(grid=8, rule="block")
    with pytest.raises(ValueError, match="grid=0"):
        HidePatches(grid=0)
    with pytest.raises(ValueError, match="region_ratio"):
        HidePatches(grid=8, region_ratio=1.5)


def test_a_tokenizer_of_pieces_hides_a_word_that_is_one_piece():
    tokenizer = SentencePieceTokenizer("model_zoo/refshapes/refshapes.spm", context_length=20)
    text = "the red circle"
    item = HideWords(tokenizer)(sample(text), np.random.default_rng(0))
    place = [word for word, _ in tokenizer.spell(tokenizer([text])[0].tolist())].index("circle")
    assert item.extras["token_masked"][place]
