"""Referring-aware dynamic masking: exact numbers, the reference's statistics, and the words hidden first."""

import json
from pathlib import Path

import numpy as np
import pytest

from refkit.backbones import SentencePieceTokenizer, WordTokenizer
from refkit.data.collate import collate
from refkit.data.transforms import MaskText, ReferringMask, patch_masks, word_masks
from refkit.structures import Frame, ReferringSample

STATISTICS = json.loads(
    (Path(__file__).parents[1] / "golden" / "oneref" / "dynamic_masking_stats.json").read_text()
)
GRID = tuple(STATISTICS["grid"])
BOXES = STATISTICS["boxes"]
DRAWS = 400
VOCABULARY = Path(__file__).parents[2] / "model_zoo" / "refshapes" / "refshapes.spm"


def span(facts):
    x, y, width, height = np.asarray(facts["box_cxcywh"]) * 384
    box = np.array([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    return patch_masks.published_patches(box, (384, 384), GRID)[0]


def draws(draw, region, count=DRAWS):
    return np.stack([draw(np.random.default_rng(seed), GRID, [region], 0.35, 0.75) for seed in range(count)])


def inside(masks, region):
    return masks[:, region.top : region.bottom, region.left : region.right]


@pytest.mark.parametrize("name", BOXES)
def test_published_masks_have_the_statistics_of_the_released_code(name):
    facts = BOXES[name]
    region = span(facts)
    assert [region.left, region.top, region.right, region.bottom] == facts["region_patches_x0y0x1y1"]
    masks = draws(patch_masks.published_mask, region)
    within = inside(masks, region).reshape(DRAWS, -1)
    assert set(within.sum(axis=1)) == {facts["inside_masked_count"]}
    if within.shape[1] == masks[0].size:
        return
    outside = (masks.reshape(DRAWS, -1).sum(axis=1) - within.sum(axis=1)) / (576 - within.shape[1])
    spread = facts["std_ratio_outside"]
    assert abs(outside.mean() - facts["mean_ratio_outside"]) < 3 * spread / np.sqrt(DRAWS) + 1e-9
    assert outside.std() == pytest.approx(spread, rel=3 / np.sqrt(2 * DRAWS))


@pytest.mark.parametrize("name", BOXES)
def test_blocks_of_the_paper_reach_both_shares_exactly_and_are_blocks(name):
    region = span(BOXES[name])
    paper = draws(patch_masks.block_mask, region, 60)
    size = inside(paper, region)[0].size
    counts = inside(paper, region).reshape(60, -1).sum(axis=1)
    assert set(counts) == {patch_masks.hidden_count(size, 0.75)}
    around = paper.reshape(60, -1).sum(axis=1) - counts
    assert set(around) == {patch_masks.hidden_count(576 - size, 0.35)}
    scattered = inside(draws(patch_masks.published_mask, region, 60), region)

    def borders(masks):
        return (masks[:, 1:] != masks[:, :-1]).mean() if masks.shape[1] > 1 else 0.0

    assert borders(inside(paper, region)) <= borders(scattered)


def test_uniform_masks_do_not_know_the_region():
    masks = [patch_masks.uniform_mask(np.random.default_rng(seed), GRID, 0.35) for seed in range(20)]
    assert {int(mask.sum()) for mask in masks} == {202}


def test_hidden_words_have_the_released_number_shares_and_order():
    ids = np.array([0, 10, 11, 12, 13, 14, 2, 1, 1])
    assert word_masks.hidden_words(6, 0.4) == 2
    third = []
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        hidden = word_masks.choose_hidden(rng, 1, 6, 2, [3, 1])
        assert hidden.tolist() == [3, 1]
        seen = word_masks.replace_hidden(rng, ids, hidden, 99, range(3, 100))
        assert (np.delete(seen, hidden) == np.delete(ids, hidden)).all()
        third.append(seen[3])
    shares = np.array([np.mean(np.array(third) == value) for value in (99, 12)])
    assert abs(shares[0] - 0.8 - 0.1 / 97) < 3 * np.sqrt(0.16 / 2000)
    assert abs(shares[1] - 0.1 - 0.1 / 97) < 3 * np.sqrt(0.09 / 2000)


@pytest.mark.parametrize(("count", "number"), [(1, 1), (2, 1), (4, 2), (63, 25)])
def test_at_least_one_word_is_hidden_and_the_number_follows_the_length(count, number):
    assert word_masks.hidden_words(count, 0.4) == number


def test_words_of_several_tokens_are_found_only_where_asked():
    words = [("[start]", 1), ("umbrella", 2), ("man", 1), ("umbrella", 2)]
    assert word_masks.positions_of(words, ["man", "umbrella"], split=False) == [3]
    assert word_masks.positions_of(words, ["man", "umbrella"], split=True) == [3, 1, 2]
    assert word_masks.positions_of(words, ["dog"], split=True) == []


def sample(text, boxes=((24, 24, 60, 48),), **meta):
    return ReferringSample(
        id="a",
        text=text,
        frame=Frame.identity(96, 96),
        image=np.zeros((96, 96, 3), np.uint8),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        meta=meta,
    )


def through(chain, item, seed):
    for step in chain:
        item = step(item, np.random.default_rng(seed))
    return item


def test_transforms_hide_the_roles_and_collate_stacks_what_they_add():
    words = ["[pad]", "[unk]", "dog", "chair", "the", "near", "big", "[start]", "[end]"]
    chain = [ReferringMask(patch_size=12), MaskText(WordTokenizer(words, context_length=10))]
    batch = [through(chain, sample("the big dog near the chair"), seed) for seed in (1, 2)]
    for item in batch:
        assert item.extras["token_masked"][[3, 6]].all()
        assert item.extras["patch_masked"].shape == (64,)
    stored = through(chain, sample("the big dog near the chair", roles={"subject": "big"}), 1)
    assert stored.extras["token_masked"][2]
    inputs = collate(batch)["inputs"]
    assert inputs["patch_masked"].shape == (2, 64) and inputs["masked_token_ids"].shape == (2, 10)
    with pytest.raises(ValueError, match="extras"):
        collate([batch[0], sample("dog")])


def test_the_end_token_is_hidden_by_the_released_rule_only():
    tokenizer = SentencePieceTokenizer(VOCABULARY, context_length=20)
    item = sample("circle")
    ends = {}
    for rule in ("published", "paper", "uniform"):
        hide = MaskText(tokenizer, rule=rule, ratio=1.0)
        ends[rule] = hide(item, np.random.default_rng(0)).extras["token_masked"].nonzero()[0].tolist()
    assert ends == {"published": [1, 2], "paper": [1], "uniform": [1]}


def test_same_seed_same_masks_and_no_target_hides_context_only():
    step = ReferringMask(patch_size=12, rule="paper")
    first, again = (step(sample("dog"), np.random.default_rng(3)).extras["patch_masked"] for _ in range(2))
    assert (first == again).all()
    without = step(sample("dog", boxes=()), np.random.default_rng(0)).extras["patch_masked"]
    assert without.sum() == patch_masks.hidden_count(64, 0.35)


def test_several_targets_are_one_region():
    boxes = ((0, 0, 24, 24), (72, 72, 96, 96))
    masks = [
        ReferringMask(patch_size=12, rule=rule, beta=0.0, gamma=1.0)(
            sample("dogs", boxes=boxes), np.random.default_rng(0)
        ).extras["patch_masked"]
        for rule in ("paper", "published")
    ]
    assert [int(mask.sum()) for mask in masks] == [8, 18]


def test_bad_settings_and_canvases_are_named():
    with pytest.raises(ValueError, match="rule='block'"):
        ReferringMask(rule="block")
    with pytest.raises(ValueError, match="patch_size=0"):
        ReferringMask(patch_size=0)
    with pytest.raises(ValueError, match=r"gamma=1\.5"):
        ReferringMask(gamma=1.5)
    with pytest.raises(ValueError, match="min_block=0"):
        ReferringMask(min_block=0)
    with pytest.raises(ValueError, match="96 x 96 pixels has no whole number of patches of 36"):
        ReferringMask(patch_size=36)(sample("dog"), np.random.default_rng(0))
    with pytest.raises(ValueError, match="no token for a masked word"):
        MaskText(str.split)


def test_an_empty_phrase_is_named_with_its_record():
    with pytest.raises(ValueError, match=r"record a: .*empty"):
        MaskText(SentencePieceTokenizer(VOCABULARY))(sample("  "), np.random.default_rng(0))
