"""The mask branch: the same numbers as its convolutions, targets, and masks in the original picture."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask

from refkit.heads import MaskHead
from refkit.heads.mask_branch import MissingMaskError, to_original_pixels
from refkit.structures import Features, Frame, ReferringSample


def features(batch=2, width=8, grid=(3, 4)):
    generator = torch.Generator().manual_seed(0)
    tokens = grid[0] * grid[1]
    visual = torch.randn(batch, tokens, width, generator=generator)
    query = torch.randn(batch, width, generator=generator)
    return Features(visual, torch.ones(batch, tokens, dtype=torch.bool), grid, query=query)


def head(**settings):
    torch.manual_seed(0)
    return MaskHead(width=8, **settings)


def sample(mask=None, box=(8, 8, 24, 16)):
    masks = None if mask is None else mask[None]
    return ReferringSample("s", "x", Frame.identity(32, 24), boxes=np.array([box], np.float32), masks=masks)


def test_logits_equal_three_transposed_convolutions_and_a_product():
    module, given = head(), features()
    pixels = given.visual.transpose(1, 2).unflatten(2, (3, 4))
    for layer in module.convolutions:
        pixels = layer(pixels)
    expected = (F.normalize(given.query, dim=-1)[:, :, None, None] * pixels).sum(1, keepdim=True)
    logits = module(given)
    assert logits.shape == (2, 1, 24, 32)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_gradients_of_the_convolutions_are_the_same_too():
    module, given = head(), features()
    module(given).square().sum().backward()
    ours = [layer.weight.grad.clone() for layer in module.convolutions]
    module.zero_grad()
    pixels = given.visual.transpose(1, 2).unflatten(2, (3, 4))
    for layer in module.convolutions:
        pixels = layer(pixels)
    (F.normalize(given.query, dim=-1)[:, :, None, None] * pixels).sum(1).square().sum().backward()
    for one, layer in zip(ours, module.convolutions, strict=True):
        torch.testing.assert_close(one, layer.weight.grad, atol=1e-4, rtol=1e-4)


def test_losses_of_undecided_logits_follow_from_the_formulas(repository):
    masks = torch.from_numpy(np.load(repository / "tests/golden/hivg/parity/inputs.npz")["target_masks"])
    losses = MaskHead(width=8).losses(torch.zeros(2, 1, 112, 112), masks.float())
    share = masks.float().mean(dim=(1, 2, 3))
    focal = 20 * (0.25 * np.log(2) * (0.25 * share + 0.75 * (1 - share))).mean()
    assert float(losses["loss_seg_focal"]) == pytest.approx(float(focal), rel=1e-5)
    pixels = 224 * 224
    dice = 2 * (1 - (share * pixels + 1) / (0.5 * pixels + share * pixels + 1)).mean()
    assert float(losses["loss_seg_dice"]) == pytest.approx(float(dice), rel=1e-5)


def test_box_targets_are_filled_boxes():
    target = head()._target_mask(sample())
    assert target.sum() == 16 * 8
    assert target[8:16, 8:24].all()


def test_samples_without_a_mask_are_left_out_of_the_loss():
    module = head(target="mask", without_mask="exclude")
    mask = np.zeros((24, 32), bool)
    mask[4:12, 4:20] = True
    both = module.loss(features(), [sample(mask), sample()])
    alone = features()
    alone.visual, alone.query = alone.visual[:1], alone.query[:1]
    for name, value in module.loss(alone, [sample(mask)]).items():
        torch.testing.assert_close(both[name], value)
    none = module.loss(features(), [sample(), sample()])
    assert [value.item() for value in none.values()] == [0.0, 0.0]
    sum(none.values()).backward()


def test_samples_without_a_mask_are_refused_unless_they_are_excluded():
    with pytest.raises(MissingMaskError, match=r"sample 's' has no mask.*with_masks=True.*without_mask="):
        head(target="mask").loss(features(), [sample(np.zeros((24, 32), bool)), sample()])


def test_an_empty_mask_is_a_target_like_any_other():
    module, empty = head(target="mask"), sample(np.zeros((24, 32), bool))
    losses = module.loss(features(), [empty, empty])
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())
    undecided = module.losses(torch.full((1, 1, 24, 32), -20.0), torch.zeros(1, 1, 24, 32, dtype=torch.uint8))
    assert sum(undecided.values()) < 1e-3  # nothing predicted, nothing there: both losses vanish


def test_only_a_head_trained_on_masks_answers():
    assert not head().answers
    assert head(target="mask").answers
    with pytest.raises(ValueError, match="target='polygon'"):
        head(target="polygon")


def test_masks_come_back_at_the_resolution_of_the_picture():
    """A letterboxed picture: 64 x 32 pixels on a 32 x 32 canvas, 8 rows of padding above and below."""
    frame = Frame((64, 32), (32, 32), (0.5, 0.5), (0.0, 8.0))
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    logits = (columns - 15.5)[None]
    original = to_original_pixels(logits, frame)
    assert original.shape == (32, 64)
    assert (original[:, :32] < 0).all()
    assert (original[:, 32:] > 0).all()
    below = to_original_pixels((rows - 15.5)[None], frame)
    assert (below[:16] < 0).all()
    assert (below[16:] > 0).all()


def test_predictions_hold_a_run_length_mask_of_the_picture():
    module, given = head(target="mask"), features()
    given.visual[:] = given.query[:, None]
    predictions = module.predict(given, [sample(), sample()])
    assert [prediction.id for prediction in predictions] == ["s", "s"]
    decoded = coco_mask.decode(predictions[0].mask)
    assert decoded.shape == (24, 32)
    expected = to_original_pixels(module(given)[0], Frame.identity(32, 24)) > 0
    assert (decoded.astype(bool) == expected.numpy()).all()


def test_it_learns_a_mask():
    module, given = head(target="mask"), features()
    mask = np.zeros((24, 32), bool)
    mask[8:16, 8:16] = True
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-2)
    for _ in range(80):
        optimizer.zero_grad()
        sum(module.loss(given, [sample(mask), sample(mask)]).values()).backward()
        optimizer.step()
    decoded = coco_mask.decode(module.predict(given, [sample(), sample()])[0].mask).astype(bool)
    assert (decoded & mask).sum() / (decoded | mask).sum() > 0.8
