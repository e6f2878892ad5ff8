"""OneRef's mask head: the same numbers as maps, convolutions and normalised pixels, and its mask rules."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import nn

from refkit.heads import CosineMaskHead
from refkit.heads.cosine_mask import cosines
from refkit.heads.mask_branch import largest_part
from refkit.structures import Features, Frame, ReferringSample

WIDTH, GRID = 8, (3, 4)


def features(batch=3):
    generator = torch.Generator().manual_seed(0)
    visual = torch.randn(batch, GRID[0] * GRID[1], WIDTH, generator=generator)
    sentence = F.normalize(torch.randn(batch, WIDTH, generator=generator), dim=-1)
    return Features(visual, torch.ones(visual.shape[:2], dtype=torch.bool), GRID, sentence=sentence)


def head(**settings):
    torch.manual_seed(0)
    module = CosineMaskHead(width=WIDTH, **settings)
    for norm in module.norms:
        nn.init.normal_(norm.weight, 1, 0.2)
        nn.init.normal_(norm.bias, 0, 0.5)
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.2, 2)
    return module


def as_published(module, given):
    """Maps through convolutions and two-dimensional normalisation, every pixel normalised, as the spec writes it."""
    pixels = given.visual.transpose(1, 2).unflatten(2, GRID)
    for step, (layer, norm) in enumerate(zip(module.convolutions, module.norms, strict=True)):
        statistics = norm.running_mean.clone(), norm.running_var.clone()
        pixels = F.batch_norm(
            layer(pixels), *statistics, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
        )
        if step < module.steps - 1:
            pixels = pixels.relu()
    sentence = F.normalize(given.sentence, dim=-1)[:, :, None, None]
    return (F.normalize(pixels, dim=1) * sentence).sum(1, keepdim=True)


def sample(mask=None, frame=None):
    frame = frame or Frame.identity(32, 24)
    masks = None if mask is None else mask[None]
    boxes = np.array([[8, 8, 24, 16]], np.float32)
    return ReferringSample("s", "x", frame, boxes=boxes, masks=masks)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("training", [False, True])
def test_logits_equal_those_of_maps(steps, training):
    module, given = head(steps=steps).train(training), features()
    expected = as_published(module, given)
    logits = module(given)
    assert logits.shape == (3, 1, 3 << steps, 4 << steps)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def test_gradients_are_the_same_in_training_and_with_fixed_statistics():
    for training in (True, False):
        module, given = head().train(training), features()
        leaves = [given.visual.requires_grad_(), given.sentence.requires_grad_(), *module.parameters()]
        expected = torch.autograd.grad(as_published(module, given).square().sum(), leaves)
        found = torch.autograd.grad(module(given).square().sum(), leaves)
        for one, other in zip(expected, found, strict=True):
            torch.testing.assert_close(other, one, atol=2e-4, rtol=1e-3)


def test_training_gathers_the_statistics_of_all_pixels():
    module, given = head(steps=2), features()
    published = [nn.BatchNorm2d(WIDTH) for _ in module.norms]
    for norm, plain in zip(module.norms, published, strict=True):
        plain.load_state_dict(norm.state_dict())
    pixels = given.visual.transpose(1, 2).unflatten(2, GRID)
    for convolution, norm in zip(module.convolutions, published, strict=True):
        pixels = norm(convolution(pixels)).relu()
    module(given)
    for norm, plain in zip(module.norms, published, strict=True):
        torch.testing.assert_close(norm.state_dict(), plain.state_dict())


def test_logits_are_cosines_in_float32_also_under_autocast():
    module, given = head().eval(), features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = module(given)
    exact = module(given)
    assert rough.dtype == torch.float32
    assert exact.abs().max() <= 1
    torch.testing.assert_close(rough, exact, atol=5e-2, rtol=0)
    assert cosines(torch.zeros(1, 2, WIDTH), given.sentence[:1]).tolist() == [[0, 0]]


def test_a_scale_sharpens_the_logits_and_moves_no_border():
    given, plain, sharp = features(), head().eval(), head(scale=8.0).eval()
    torch.testing.assert_close(sharp(given), 8 * plain(given))
    frames = [Frame.identity(24, 32)] * 3
    for one, other in zip(plain.masks(plain(given), frames), sharp.masks(sharp(given), frames), strict=True):
        assert one.equal(other)
    with pytest.raises(ValueError, match="scale=0"):
        head(scale=0)


def test_another_width_of_the_sentence_is_refused():
    given = features()
    given.sentence = given.sentence[:, :4]
    with pytest.raises(ValueError, match=r"patches of 8 channels .* one of 4 channels"):
        head()(given)
    given.sentence = None
    with pytest.raises(ValueError, match="found none"):
        head()(given)
    with pytest.raises(ValueError, match="steps=0"):
        CosineMaskHead(width=8, steps=0)


def test_the_published_rule_adds_every_pixel_that_a_positive_one_touches():
    logits = torch.full((1, 1, 4, 4), -1.0)
    logits[0, 0, 1, 1] = 2.0
    frames = [Frame.identity(8, 8)]
    upsampled = head().masks(logits, frames)[0]
    published = head(mask_rule="published").masks(logits, frames)[0]
    assert published.int().tolist() == (np.pad(np.ones((4, 4), int), ((1, 3), (1, 3))).tolist())
    assert (published | upsampled).equal(published)
    assert 0 < upsampled.sum() < published.sum()


@pytest.mark.parametrize(
    ("radius", "loses_to"), [(8, 0.754), (16, 0.842), (32, 0.920), (64, 0.960), (128, 0.979)]
)
def test_what_the_published_rule_costs_on_perfect_disks(radius, loses_to):
    """Section 10 of the specification: signed distances at 192 x 192, truth at 384 x 384."""
    inside = [
        radius - torch.cdist(centres(side), torch.tensor([[192.0, 192.0]])).view(side, side)
        for side in (192, 384)
    ]
    truth = inside[1] > 0
    iou = {}
    for rule in ("published", "upsampled"):
        mask = head(mask_rule=rule).masks(inside[0][None, None], [Frame.identity(384, 384)])[0]
        iou[rule] = float((mask & truth).sum() / (mask | truth).sum())
    assert iou["published"] == pytest.approx(loses_to, abs=0.02)
    assert iou["upsampled"] > 0.98


def centres(side):
    places = (torch.arange(side) + 0.5) * 384 / side
    return torch.cartesian_prod(places, places)


def test_masks_of_the_canvas_show_its_padding():
    frame = Frame((64, 32), (32, 32), (0.5, 0.5), (0.0, 8.0))
    logits = torch.ones(1, 1, 16, 16)
    assert head().masks(logits, [frame])[0].shape == (32, 64)
    canvas = head(metric_resolution="canvas").masks(logits, [frame])[0]
    assert canvas.shape == (32, 32)
    assert canvas.all()


def test_the_largest_part_alone_can_be_answered():
    mask = np.zeros((8, 9), bool)
    mask[1:3, 1:3] = mask[3:6, 3:6] = mask[0, 7] = True
    kept = largest_part(mask)
    assert kept[1:3, 1:3].all() and kept[3:6, 3:6].all() and kept.sum() == 13
    assert not largest_part(np.zeros((4, 4), bool)).any()
    given, samples = features(batch=1), [sample(frame=Frame.identity(32, 24))]
    answers = {}
    for parts in ("all", "largest"):
        module = head(parts=parts)
        torch.nn.init.zeros_(module.norms[-1].bias)  # about half of all pixels are foreground
        answers[parts] = module.predict(given, samples)[0].mask
    whole, largest = (coco_mask.decode(answers[parts]).astype(bool) for parts in ("all", "largest"))
    assert 0 < largest.sum() < whole.sum()
    assert np.array_equal(largest, largest_part(whole))


def test_unknown_rules_are_refused():
    for settings in ({"mask_rule": "official"}, {"metric_resolution": "pixel"}, {"without_mask": "skip"}):
        with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
            head(**settings)


def test_it_learns_a_mask():
    module, given = head(), features(2)
    mask = np.zeros((24, 32), bool)
    mask[8:16, 8:16] = True
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-2)
    for _ in range(60):
        optimizer.zero_grad()
        sum(module.loss(given, [sample(mask), sample(mask)]).values()).backward()
        optimizer.step()
    decoded = coco_mask.decode(module.eval().predict(given, [sample(), sample()])[0].mask).astype(bool)
    assert (decoded & mask).sum() / (decoded | mask).sum() > 0.8
