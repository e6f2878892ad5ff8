"""Whatever chain of transforms runs, image, boxes, masks, padding and frame keep agreeing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_factory import make_sample

from refkit.data.transforms import (
    ColorJitter,
    Compose,
    HorizontalFlip,
    Letterbox,
    Pad,
    RandomCrop,
    RandomResize,
    RandomScale,
    RandomTranslate,
    Resize,
)
from refkit.data.transforms.primitives import degenerate

WITHOUT_CROP = (
    Resize(64),
    Resize(96, side="short"),
    RandomResize([48, 80]),
    RandomScale(0.7, 1.6),
    RandomTranslate(0.3),
    Letterbox(72),
    Letterbox(100, mode="random"),
    HorizontalFlip(0.5),
    ColorJitter(),
)
WITH_CROP = (*WITHOUT_CROP, RandomCrop(24, 60), RandomCrop(24, 60, published=True))


@st.composite
def samples(draw):
    width, height = draw(st.integers(40, 120)), draw(st.integers(40, 120))
    boxes = []
    for _ in range(draw(st.integers(0, 3))):
        left, top = draw(st.integers(0, width - 20)), draw(st.integers(0, height - 20))
        boxes.append([left, top, draw(st.integers(left + 18, width)), draw(st.integers(top + 18, height))])
    text = draw(st.sampled_from(["the left dog", "RIGHTMOST cup", "laptop", "right next to the car"]))
    return make_sample(width, height, boxes, text, seed=draw(st.integers(0, 9)))


def chains(parts):
    return st.lists(st.sampled_from(parts), min_size=1, max_size=5)


def run(sample, chain, seed):
    """The sample after the chain, and the boxes it must have by then: annotated ones, clipped by every crop."""
    rng, expected = np.random.default_rng(seed), sample.boxes.astype(np.float64)
    for transform in chain:
        before, sample = sample, transform(sample, rng)
        if isinstance(transform, RandomCrop) and sample is not before:
            window = sample.frame.to_original(np.array([0, 0, *sample.frame.canvas]))
            expected = np.clip(expected, np.tile(window[:2], 2), np.tile(window[2:], 2))
    return sample, expected


@settings(deadline=None, max_examples=80)
@given(samples(), chains(WITHOUT_CROP), st.integers(0, 1000))
def test_boxes_come_back_within_a_thousandth_of_a_pixel(sample, chain, seed):
    after = Compose(chain)(sample, np.random.default_rng(seed))
    assert np.abs(after.original_boxes - sample.boxes).max(initial=0) < 1e-3
    assert np.abs(after.frame.to_canvas(sample.boxes) - after.boxes).max(initial=0) < 1e-3


@settings(deadline=None, max_examples=80)
@given(samples(), chains(WITH_CROP), st.integers(0, 1000))
def test_all_parts_of_a_sample_agree(sample, chain, seed):
    after, expected = run(sample, chain, seed)
    size = after.image.shape[:2]
    assert after.frame.original == sample.frame.original
    assert after.frame.canvas == size[::-1]
    assert after.masks.shape == (len(sample.boxes), *size)
    assert after.padding is None or after.padding.shape == size
    assert after.image.dtype == np.uint8
    assert after.boxes.dtype == np.float32
    assert not degenerate(after.boxes).any()
    assert np.abs(after.original_boxes - expected).max(initial=0) < 1e-3
    assert not (after.masks & (np.zeros(size, bool) if after.padding is None else after.padding)).any()


@settings(deadline=None, max_examples=80)
@given(samples(), chains(WITH_CROP), st.integers(0, 1000))
def test_masks_stay_on_their_boxes(sample, chain, seed):
    """A canvas pixel belongs to the mask exactly if it comes from inside the box, up to nearest-neighbour steps."""
    rng, after, slack = np.random.default_rng(seed), sample, 1.0
    for transform in chain:
        before, after = after, transform(after, rng)
        scales = np.abs([*before.frame.scale, *after.frame.scale])
        if before.frame.scale != after.frame.scale:
            slack += 1.5 / min(1.0, scales.min())
    height, width = after.image.shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    back = after.frame.to_original(np.stack((x, y, x, y), axis=-1))[..., :2]
    shown = np.ones((height, width), bool) if after.padding is None else ~after.padding
    for box, mask in zip(sample.boxes, after.masks, strict=True):
        depth = np.minimum(back - box[:2], box[2:] - back).min(axis=-1)
        assert mask[shown & (depth > slack)].all()
        assert not mask[depth < -slack].any()


@settings(deadline=None, max_examples=60)
@given(samples(), st.integers(40, 130))
def test_two_flips_are_the_identity(sample, size):
    rng = np.random.default_rng(0)
    sample = Compose([Resize(size), Pad(130, mode="random")])(sample, rng)
    flip = HorizontalFlip(1.0)
    twice = flip(flip(sample, rng), rng)
    assert twice.text == sample.text
    assert np.array_equal(twice.image, sample.image)
    assert np.array_equal(twice.masks, sample.masks)
    assert np.array_equal(twice.padding, sample.padding)
    assert np.allclose(twice.boxes, sample.boxes, atol=1e-4)
    assert np.allclose((*twice.frame.scale, *twice.frame.shift), (*sample.frame.scale, *sample.frame.shift))


@settings(deadline=None, max_examples=60)
@given(samples(), chains(WITH_CROP), st.integers(0, 1000))
def test_a_chain_is_a_function_of_its_generator_and_spares_its_input(sample, chain, seed):
    image, boxes, masks = sample.image.copy(), sample.boxes.copy(), sample.masks.copy()
    one = Compose(chain)(sample, np.random.default_rng(seed))
    two = Compose(chain)(sample, np.random.default_rng(seed))
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.boxes, two.boxes)
    assert one.text == two.text
    assert np.array_equal(sample.image, image)
    assert np.array_equal(sample.boxes, boxes)
    assert np.array_equal(sample.masks, masks)
