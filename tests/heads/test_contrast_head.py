import pytest
import torch
import torch.nn.functional as F

from refkit.heads import ContrastHead
from refkit.structures import Features


def features(**fields):
    return Features(torch.zeros(3, 4, 8), torch.ones(3, 4, dtype=torch.bool), (2, 2), **fields)


def test_logits_are_scaled_cosines_with_a_row_per_sentence():
    sentence, image = torch.randn(3, 8), torch.randn(3, 8)
    given = features(sentence=sentence, image=image, contrast_scale=torch.tensor(10.0))
    named = ContrastHead(width=8).tensors(given)
    expected = 10 * F.cosine_similarity(sentence[:, None], image[None], dim=-1)
    torch.testing.assert_close(named["logits_per_text"], expected)


def test_the_loss_counts_with_its_weight():
    given = features(sentence=torch.eye(3, 8), image=torch.eye(3, 8), contrast_scale=torch.tensor(5.0))
    once, twice = (
        ContrastHead(width=8, weight=weight).loss(given, [])["loss_contrastive"] for weight in (1, 2)
    )
    assert float(twice) == pytest.approx(2 * float(once))
    expected = F.cross_entropy(5 * torch.eye(3), torch.arange(3))
    assert float(once) == pytest.approx(float(expected))


def test_an_unpooled_picture_is_refused():
    with pytest.raises(ValueError, match=r"CLIPBackbone\(pooled=True\)"):
        ContrastHead(width=8)(features())
