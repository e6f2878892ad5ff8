"""Each transform by itself."""

import numpy as np
import pytest
from PIL import Image
from sample_factory import make_sample

from refkit.data.transforms import (
    ColorJitter,
    Compose,
    DegenerateBoxError,
    HorizontalFlip,
    Letterbox,
    Pad,
    RandomApply,
    RandomCrop,
    RandomResize,
    RandomScale,
    RandomTranslate,
    Resize,
    TruncateBoxes,
    UnlessPlaceWords,
    build_transform,
)
from refkit.data.transforms.primitives import crop, degenerate, paste
from refkit.registry import TRANSFORMS


def rng(seed=0):
    return np.random.default_rng(seed)


def test_resize_uses_the_exact_ratio_for_boxes():
    sample = Resize(33)(make_sample(80, 61), rng())
    ratio = 33 / 80
    assert sample.image.shape == (round(61 * ratio), 33, 3)
    assert np.allclose(sample.boxes, np.array([[10, 20, 40, 50]]) * ratio)
    assert sample.frame.canvas == (33, 25)
    assert sample.masks.shape == (1, 25, 33)


def test_resize_of_the_short_side():
    assert Resize(30, side="short")(make_sample(80, 60), rng()).image.shape == (30, 40, 3)


def test_resize_pixels_are_pillows():
    sample = make_sample(80, 60)
    expected = Image.fromarray(sample.image).resize((40, 30), Image.Resampling.BILINEAR)
    assert np.array_equal(Resize(40)(sample, rng()).image, np.asarray(expected))


def test_random_resize_draws_all_choices():
    sizes = {RandomResize([16, 32, 64])(make_sample(), rng(seed)).frame.canvas[0] for seed in range(30)}
    assert sizes == {16, 32, 64}


def test_random_resize_falls_back_to_its_largest_choice_for_a_sliver():
    thin = make_sample(boxes=[[10, 10, 10.04, 40]])
    assert RandomResize([8, 80])(thin, rng(1)).frame.canvas[0] == 80
    assert {RandomResize([8, 80])(thin, rng(seed)).frame.canvas[0] for seed in range(20)} == {80}


def test_random_scale_keeps_a_sliver_as_it_is():
    thin = make_sample(boxes=[[10, 10, 10.011, 40]])
    assert RandomScale(0.5, 0.5)(thin, rng()) is thin
    assert RandomScale(2.0, 2.0)(thin, rng()).frame.canvas == (160, 120)


def test_letterbox_puts_the_odd_pixel_at_the_end():
    sample = Letterbox(81)(make_sample(80, 60), rng())
    rows = np.flatnonzero(~sample.padding.all(axis=1))
    assert sample.image.shape == (81, 81, 3)
    assert (rows[0], 80 - rows[-1]) == (10, 10)
    sample = Pad(83)(make_sample(80, 60), rng())
    columns = np.flatnonzero(~sample.padding.all(axis=0))
    assert (columns[0], 82 - columns[-1]) == (1, 2)
    assert not sample.image[sample.padding].any()


def test_letterbox_at_random_offsets():
    offsets = {
        Letterbox(80, mode="random")(make_sample(80, 60), rng(seed)).frame.shift[1] for seed in range(60)
    }
    assert min(offsets) >= 0
    assert max(offsets) <= 20
    assert len(offsets) > 10


def test_padding_refuses_a_picture_that_does_not_fit():
    with pytest.raises(ValueError, match="80 x 60 does not fit the canvas of 64 x 64"):
        Pad(64)(make_sample(), rng())


def test_translate_never_pushes_a_target_out():
    sample = make_sample(boxes=[[2, 3, 40, 50], [30, 30, 79, 60]])
    for seed in range(50):
        moved = RandomTranslate(0.5)(sample, rng(seed))
        assert (moved.boxes >= 0).all()
        assert (moved.boxes <= (80, 60, 80, 60)).all()
        assert moved.masks.sum() == sample.masks.sum()


def test_translate_leaves_boxes_over_the_edge_where_they_are():
    sample = make_sample(boxes=[[-3, -2, 85, 70]], with_masks=False)
    assert np.array_equal(RandomTranslate(0.5)(sample, rng(3)).boxes, sample.boxes)


def test_flip_mirrors_everything_and_swaps_words():
    sample = make_sample(text="the left dog")
    sample.meta["references"] = ["dog at left"]
    flipped = HorizontalFlip(1.0)(sample, rng())
    assert flipped.text == "the right dog"
    assert flipped.meta["references"] == ["dog at right"]
    assert flipped.boxes.tolist() == [[40, 20, 70, 50]]
    assert np.array_equal(flipped.image, sample.image[:, ::-1])
    assert np.array_equal(flipped.masks, sample.masks[..., ::-1])
    assert sample.meta["references"] == ["dog at left"]


def test_flip_leaves_ambiguous_sentences_alone():
    sample = make_sample(text="dog right next to the car")
    assert HorizontalFlip(1.0)(sample, rng()) is sample


def test_flip_has_its_probability():
    flips = sum(
        HorizontalFlip(0.3)(make_sample(8, 8, [[1, 1, 5, 5]]), rng(s)).text[4] == "r" for s in range(400)
    )
    assert 90 < flips < 150


def test_truncation_matches_the_released_loaders():
    boxes = [[10.4, 20.6, 10.4 + 200.0, 20.6 + 310.7], [5.0, 5.0, 5.7, 9.2]]
    sample = TruncateBoxes()(make_sample(640, 480, boxes, with_masks=False), rng())
    assert sample.boxes[0].tolist() == [10, 20, 210, 330]
    assert np.allclose(sample.boxes[1], boxes[1])


def test_crop_keeps_the_asked_share_of_every_target():
    sample = make_sample(80, 60, [[5, 5, 30, 30], [40, 20, 75, 55]])
    for seed in range(60):
        cropped = RandomCrop(20, 60, min_visible=0.6)(sample, rng(seed))
        area = (cropped.boxes[:, 2:] - cropped.boxes[:, :2]).prod(axis=1)
        assert (area >= 0.6 * np.array([625, 1225]) - 0.1).all()
        assert cropped.image.shape[:2] == cropped.frame.canvas[::-1]


def test_crop_follows_the_published_rule_but_never_empties_a_box():
    wide = make_sample(200, 100, [[100, 10, 190, 90]])
    results = [RandomCrop(50, 90, tries=1, published=True)(wide, rng(seed)) for seed in range(300)]
    cropped = [sample for sample in results if sample is not wide]
    assert cropped
    assert not any(degenerate(sample.boxes).any() for sample in results)
    # centre (145, 50): x > top always holds, y > left allows windows from column 0 to 49 only
    assert all(-sample.frame.shift[0] < 50 for sample in cropped)
    assert min((sample.boxes[0, 2] - sample.boxes[0, 0]) / 90 for sample in cropped) < 0.2
    out_of_reach = make_sample(200, 100, [[150, 10, 190, 90]])
    assert RandomCrop(50, 90, published=True)(out_of_reach, rng()) is out_of_reach


def test_crop_gives_up_after_its_tries():
    everything = make_sample(80, 60, [[0, 0, 80, 60]])
    assert RandomCrop(10, 20, min_visible=1.0)(everything, rng()) is everything


def test_crop_of_a_picture_below_the_smallest_window_keeps_that_side():
    assert RandomCrop(384, 600)(make_sample(80, 60), rng()).frame.canvas == (80, 60)


def test_crop_keeps_the_pixels_of_a_mask():
    sample = make_sample(80, 60, [[0, 0, 79, 59]])
    sample.masks[:] = False
    sample.masks[0, 50:, 70:] = True
    for seed in range(40):
        assert RandomCrop(40, 60, min_visible=0.0)(sample, rng(seed)).masks.any()


def test_primitives_reject_degenerate_boxes():
    with pytest.raises(DegenerateBoxError, match=r"toy\.1: cropping leaves target 0 without area"):
        crop(make_sample(), 60, 0, (20, 20))
    with pytest.raises(DegenerateBoxError, match="resizing"):
        Resize(40)(make_sample(boxes=[[10, 10, 10, 20]]), rng())
    assert degenerate(np.array([[0, 0, np.nan, 5], [5, 0, 4, 9], [0, 0, 1, 1]])).tolist() == [
        True,
        True,
        False,
    ]


def test_paste_cuts_what_lies_beyond_the_canvas():
    sample = paste(make_sample(), -10, 5, (50, 30))
    assert np.array_equal(sample.image[5:], make_sample().image[:25, 10:60])
    assert sample.padding[:5].all()
    assert not sample.padding[5:].any()
    assert np.array_equal(sample.masks[0, 5:], make_sample().masks[0, :25, 10:60])


def test_jitter_changes_colours_only_and_follows_the_generator():
    sample = make_sample()
    one, same = ColorJitter(p=1.0)(sample, rng(4)), ColorJitter(p=1.0)(sample, rng(4))
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, sample.image)
    assert one.image.dtype == np.uint8
    assert np.array_equal(one.boxes, sample.boxes)
    assert ColorJitter(p=0.0)(sample, rng()) is sample


def test_jitter_of_strength_zero_is_the_identity():
    sample = make_sample()
    assert np.array_equal(ColorJitter(0.0, 0.0, 0.0, p=1.0)(sample, rng()).image, sample.image)


def test_jitter_brightness_is_pillows():
    sample = make_sample(8, 8, [[1, 1, 5, 5]])
    draws = rng(2)
    draws.random()
    draws.permutation(3)
    factors = draws.uniform(0.6, 1.4, 3)
    order = rng(2)
    order.random()
    factor = factors[order.permutation(3).tolist().index(0)]
    result = ColorJitter(0.4, 0.0, 0.0, p=1.0)(sample, rng(2)).image
    assert 0.6 <= factor <= 1.4
    assert np.abs(result - np.clip(sample.image * factor, 0, 255)).max() <= 1


@pytest.mark.parametrize(
    ("text", "published", "applied"),
    [
        ("the left dog", False, False),
        ("dog with laptop", False, True),
        ("dog with laptop", True, False),
        ("Middle one", True, False),
        ("bright dog", True, False),
        ("black dog", True, True),
        ("guy in center", False, False),
    ],
)
def test_place_words_guard(text, published, applied):
    guard = UnlessPlaceWords([dict(type="Resize", size=40)], published=published)
    assert (guard(make_sample(text=text), rng()).frame.canvas == (40, 30)) is applied


def test_random_apply_and_compose():
    half = RandomApply([Resize(40)], p=0.5)
    widths = [half(make_sample(8, 8, [[1, 1, 5, 5]]), rng(seed)).frame.canvas[0] for seed in range(40)]
    assert {8, 40} == set(widths)
    assert Compose([Resize(40), Pad(64)])(make_sample(), rng()).frame.canvas == (64, 64)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Resize(0), "positive whole number"),
        (lambda: Resize(10.5), "positive whole number"),
        (lambda: Resize(10, side="width"), "'long', 'short'"),
        (lambda: RandomResize([]), "choices is empty"),
        (lambda: RandomScale(0.0, 1.0), "0 < low <= high"),
        (lambda: Pad(10, mode="left"), "'centre', 'random'"),
        (lambda: RandomCrop(10, 5), "max_size=5 is smaller"),
        (lambda: HorizontalFlip(1.5), "probability"),
        (lambda: ColorJitter(brightness=-1), "brightness=-1"),
        (lambda: build_transform(7), "a callable, got 7"),
    ],
)
def test_wrong_settings_are_refused(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


def test_transforms_need_pixels():
    sample = make_sample()
    sample.image = None
    with pytest.raises(ValueError, match="no pixels"):
        Resize(10)(sample, rng())


def test_all_transforms_are_registered():
    for name in (
        "Letterbox",
        "RandomCrop",
        "ColorJitter",
        "HorizontalFlip",
        "UnlessPlaceWords",
        "TruncateBoxes",
    ):
        assert TRANSFORMS.get(name) is not None
