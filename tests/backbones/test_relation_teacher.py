from __future__ import annotations

import pytest
import tiny_models as tiny
import torch

from refkit.backbones import BEiT3Backbone, CLIPBackbone, CLIPTokenizer
from refkit.backbones.relation_teacher import BEiT3Teacher, CLIPTeacher

BOXES = torch.tensor([[8.0, 8.0, 24.0, 24.0], [0.0, 4.0, 10.0, 30.0]])


@pytest.fixture
def beit3():
    torch.manual_seed(0)
    return BEiT3Teacher({"type": BEiT3Backbone, "size": tiny.BEIT3_SIZE, "pad_id": 0}).eval()


@pytest.fixture
def clip(tmp_path):
    torch.manual_seed(0)
    words = tiny.word_tokenizer(tmp_path)
    return CLIPTeacher({"type": CLIPBackbone, "size": tiny.SIZE}, tokenizer=words, spelling=words).eval()


@pytest.fixture(params=["beit3", "clip"])
def teacher(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def batch():
    token_ids = torch.tensor([[38, 5, 6, 7, 39, 0, 0], [38, 8, 5, 9, 10, 11, 39]])
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return pixels, BOXES, token_ids, token_ids != 0


def test_scores_are_the_weighted_sigmoids_of_cosines(teacher, batch):
    pixels, _, token_ids, mask = batch
    scores = teacher(*batch)
    assert scores.shape == (2, 7) and not scores[~mask].any()
    assert ((scores[mask] > 0.26) & (scores[mask] < 0.74)).all()
    teacher.region_weight, teacher.image_weight = 1.0, 0.0
    region = teacher(*batch)
    teacher.region_weight, teacher.image_weight = 0.0, 1.0
    torch.testing.assert_close(scores, (region + teacher(*batch)) / 2)
    image = teacher.pictures((pixels - teacher.mean) / teacher.std)
    words = teacher.words(token_ids, mask)
    expected = torch.einsum("bd,btd->bt", image, words).sigmoid() * mask
    torch.testing.assert_close(teacher(*batch), expected)


def test_a_larger_scale_tells_words_apart(teacher, batch):
    mask = batch[3]
    spread = teacher(*batch)[mask].std()
    teacher.scale = 10.0
    assert teacher(*batch)[mask].std() > 3 * spread


def test_only_the_region_decides_about_the_regions_part(teacher, batch):
    pixels, boxes, *text = batch
    teacher.image_weight = 0.0
    outside = pixels.clone()
    outside[0, :, :8] = outside[0, :, :, 24:] = 0.5
    torch.testing.assert_close(teacher(pixels, boxes, *text)[0], teacher(outside, boxes, *text)[0])
    inside = pixels.clone()
    inside[0, :, 10:20, 10:20] = 0.0
    assert not torch.allclose(teacher(pixels, boxes, *text)[0], teacher(inside, boxes, *text)[0])


def test_crops_are_whole_pixels_around_the_box_and_never_empty(beit3):
    pixels = torch.zeros(3, 3, 32, 32)
    pixels[:, :, 8:24, 4:12] = 1.0
    boxes = torch.tensor([[4.0, 8.0, 12.0, 24.0], [4.6, 8.2, 11.4, 23.9], [31.9, 31.9, 40.0, 40.0]])
    crops = beit3.crops(pixels, boxes)
    assert crops.shape == (3, 3, 32, 32)
    assert crops[:2].min() == 1.0 and crops[2].max() == 0.0
    degenerate = torch.tensor([[-5.0, -5.0, -1.0, -1.0], [6.0, 10.0, 6.0, 10.0], [50.0, 50.0, 60.0, 60.0]])
    assert beit3.crops(pixels, degenerate).isfinite().all()


def test_branches_of_beit3_see_one_modality(beit3, batch):
    pixels, _, token_ids, mask = batch
    words = beit3.words(token_ids, mask)
    torch.testing.assert_close(beit3.words(token_ids[:1, :5], mask[:1, :5])[0], words[0, :5])
    torch.testing.assert_close(words.norm(dim=-1), torch.ones(2, 7))
    torch.testing.assert_close(beit3.pictures(pixels).norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(beit3.pictures(pixels)[1:], beit3.pictures(pixels[1:]))


def test_clip_gives_all_ids_of_a_word_the_words_vector(clip, batch):
    *_, token_ids, mask = batch
    vectors = clip.words(token_ids, mask)
    torch.testing.assert_close(vectors[0, 1], vectors[1, 2])  # id 5 in both sentences
    assert not vectors[0, 5:].any()
    clip.spelling = CLIPTokenizer()
    ids = clip.spelling(["a checkeredness cat"])[:, :8]
    parts = [count for _, count in clip.spelling.spell(ids[0].tolist())]
    assert parts[:2] == [1, 1] and parts[2] > 1
    (vectors,) = clip.words(ids, ids != 0)
    torch.testing.assert_close(vectors[2], vectors[1 + parts[2]])
    assert not torch.allclose(vectors[2], vectors[1])


def test_teachers_are_never_trained(teacher):
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_weights_of_the_score_are_checked():
    with pytest.raises(ValueError, match="expected weights of at least 0 and a positive scale"):
        BEiT3Teacher({"type": BEiT3Backbone, "size": tiny.BEIT3_SIZE}, region_weight=-1.0)
