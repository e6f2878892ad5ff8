from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from refkit.heads import MaskedImageHead, MaskedTextHead
from refkit.heads.mask_referring import PatchTargets, WordTargets
from refkit.structures import Features

B, N, T, C = 3, 4, 8, 6


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


@pytest.fixture
def features():
    torch.manual_seed(0)
    text_mask = torch.ones(B, T, dtype=torch.bool)
    text_mask[0, 5:] = False
    return Features(
        visual=torch.randn(B, N, C),
        visual_mask=torch.ones(B, N, dtype=torch.bool),
        grid=(2, 2),
        text=torch.randn(B, T, C),
        text_mask=text_mask,
        text_end=text_mask.sum(dim=1) - 1,
        image=unit(B, C),
        sentence=unit(B, C),
        visual_aligned=unit(B, N, C),
        text_aligned=unit(B, T, C),
    )


def image_head(**settings):
    torch.manual_seed(1)
    return MaskedImageHead(width=C, codes=5, **settings)


def text_head(**settings):
    torch.manual_seed(1)
    return MaskedTextHead(width=C, vocabulary=9, context_length=T, **settings)


@pytest.fixture
def patches():
    masked = torch.zeros(B, N, dtype=torch.bool)
    masked[0, 1] = masked[2] = True
    return PatchTargets(masked, torch.randint(0, 5, (B, N)), torch.randn(B, N, 4))


@pytest.fixture
def words():
    masked = torch.zeros(B, T, dtype=torch.bool)
    masked[0, 2] = masked[1, 1:7] = True
    return WordTargets(masked, torch.randint(0, 9, (B, T)), torch.rand(B, T - 2))


def test_products_add_up_to_the_similarity(features):
    product = image_head().product(features)
    similarity = torch.einsum("bc,bnc->bn", features.sentence, features.visual_aligned)
    torch.testing.assert_close(product.sum(dim=-1), similarity)


def test_content_of_hidden_patches_is_averaged_over_the_batch(features, patches):
    head = image_head()
    loss = head.loss(features, patches)["loss_mim"]
    rows = [
        F.cross_entropy(
            head.content(F.normalize(features.sentence[b] * features.visual_aligned[b, n], dim=-1)), code
        )
        for b, n, code in [(0, 1, patches.codes[0, 1]), *((2, n, patches.codes[2, n]) for n in range(4))]
    ]
    torch.testing.assert_close(loss, torch.stack(rows).mean())


def test_what_is_not_hidden_is_not_predicted(features, patches, words):
    other = replace(patches, codes=torch.where(patches.masked, patches.codes, 0))
    assert image_head().loss(features, other)["loss_mim"] == image_head().loss(features, patches)["loss_mim"]
    other = replace(words, token_ids=torch.where(words.masked, words.token_ids, 0))
    assert text_head().loss(features, other)["loss_mlm"] == text_head().loss(features, words)["loss_mlm"]


def test_nothing_hidden_costs_nothing_and_can_be_differentiated(features, patches, words):
    for head, targets in ((image_head(), patches), (text_head(), words)):
        losses = head.loss(features, replace(targets, masked=torch.zeros_like(targets.masked)))
        (loss,) = (value for name, value in losses.items() if name.startswith("loss"))
        assert loss == 0
        loss.backward()
        assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("head", [image_head, text_head])
def test_the_relation_is_trained_only_when_switched_on(head):
    assert not any(parameter.requires_grad for parameter in head().relation.parameters())
    assert all(parameter.requires_grad for parameter in head(relation_losses="on").relation.parameters())
    with pytest.raises(ValueError, match="relation_losses='maybe'; expected one of off, on"):
        head(relation_losses="maybe")


def test_relation_losses_ask_for_targets(features, patches, words):
    with pytest.raises(ValueError, match="needs visual_relation targets"):
        image_head(relation_losses="on").loss(features, replace(patches, relation=None))
    with pytest.raises(ValueError, match="needs semantic_relation targets"):
        text_head(relation_losses="on").loss(features, replace(words, relation=None))


def test_coefficients(features, patches, words):
    for make, targets in ((image_head, patches), (text_head, words)):
        plain = make(relation_losses="on").loss(features, targets)
        scaled = make(relation_losses="on", content_weight=2.0, relation_weight=3.0).loss(features, targets)
        content, relation = (name for name in plain if name.startswith("loss"))
        torch.testing.assert_close(scaled[content], 2 * plain[content])
        torch.testing.assert_close(scaled[relation], 3 * plain[relation])


def test_words_are_read_from_hidden_states_or_from_the_product(features, words):
    torch.testing.assert_close(text_head().words(features), features.text)
    product = text_head(mlm_input="product").words(features)
    expected = F.normalize(features.image[:, None] * features.text_aligned, dim=-1)
    torch.testing.assert_close(product, expected)
    blind = replace(features, text=torch.zeros_like(features.text))
    raw, read = text_head(), text_head(mlm_input="product")
    assert read.loss(blind, words)["loss_mlm"] == read.loss(features, words)["loss_mlm"]
    assert raw.loss(blind, words)["loss_mlm"] != raw.loss(features, words)["loss_mlm"]


def test_late_in_training_the_worst_words_are_dropped(features, words):
    head = text_head(drop_from=100)
    early, late = (head.loss(features, words, step)["loss_mlm"] for step in (99, 100))
    assert late < early
    never = text_head(drop_from=100, drop_worst=0.0)
    assert never.loss(features, words, 100)["loss_mlm"] == early


def trimmed(features, length):
    return replace(
        features,
        text=features.text[:, :length],
        text_mask=features.text_mask[:, :length],
        text_aligned=features.text_aligned[:, :length],
    )


def test_a_single_softmax_does_not_see_padding_so_trimming_is_exact(features):
    short = replace(
        features,
        **{
            name: getattr(features, name)[:1]
            for name in ("text", "text_mask", "text_end", "image", "text_aligned")
        },
    )
    head = text_head(relation_losses="on", relation_softmax="single")
    masked, ids, scores = torch.zeros(1, T).bool(), torch.zeros(1, T).long(), torch.rand(1, T - 2)
    whole = head.loss(short, WordTargets(masked, ids, scores))["loss_mlm_sts"]
    cut = head.loss(trimmed(short, 5), WordTargets(masked[:, :5], ids[:, :5], scores[:, :3]))["loss_mlm_sts"]
    torch.testing.assert_close(whole, cut)


def test_the_double_softmax_counts_padding_and_refuses_trimmed_text(features, words):
    head = text_head(relation_losses="on", relation_softmax="double")
    changed = features.text_aligned.clone()
    changed[0, 6] = -changed[0, 6]  # padding
    losses = [
        head.loss(f, words)["loss_mlm_sts"] for f in (features, replace(features, text_aligned=changed))
    ]
    assert losses[0] != losses[1]
    cut = WordTargets(words.masked[:, :7], words.token_ids[:, :7], words.relation[:, :5])
    with pytest.raises(ValueError, match="trimmed to 7 of 8 slots"):
        head.loss(trimmed(features, 7), cut)


def test_named_tensors(features):
    named = image_head().tensors(features) | text_head().tensors(features)
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    assert shapes == {
        "mim_logits": (B, N, 5),
        "visual_relation_pred": (B, N, 4),
        "mlm_logits": (B, T, 9),
        "semantic_relation_logits": (B, T - 2),
    }


def test_what_a_backbone_must_offer(features, patches, words):
    with pytest.raises(ValueError, match=r"needs features\.visual_aligned"):
        image_head().loss(replace(features, visual_aligned=None), patches)
    with pytest.raises(ValueError, match=r"needs features\.text_aligned"):
        text_head(mlm_input="product").loss(replace(features, text_aligned=None), words)
    with pytest.raises(ValueError, match=r"needs features\.text$"):
        text_head().loss(replace(features, text=None), words)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mlm_input": "both"}, "mlm_input='both'; expected one of raw, product"),
        ({"relation_softmax": "none"}, "expected one of double, single"),
        ({"smoothing": 1.0}, "expected shares"),
        ({"drop_worst": -0.1}, "expected shares"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        text_head(**settings)
