"""Views of regions in the pipeline: selections, samples, batches, and regions that cannot be viewed."""


import numpy as np
import pytest
import torch
from sample_factory import make_sample

from refkit.data.collate import collate
from refkit.data.refshapes.dataset import RefShapesDataset
from refkit.data.transforms import HorizontalFlip, RegionViews
from refkit.data.view_hash import HASHES
from refkit.data.view_selection import (
    FixedViews,
    ImagePrior,
    RandomViews,
    TaskPrior,
    build_selection,
    pick_greedily,
    rank_once,
)
from refkit.data.views import (
    CANDIDATES,
    RegionError,
    check_regions,
    crop_boxes,
    distinct_views,
    region_box,
    regions_in_views,
)

REGIONS = np.array([[10.0, 20, 40, 50], [0, 0, 80, 60]])


def rng(seed=0):
    return np.random.default_rng(seed)


def pixels(width=80, height=60, seed=0):
    return rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_random_views_are_uniform_and_never_repeated():
    chosen = RandomViews().choose(pixels(), np.tile(REGIONS[:1], (4000, 1)), 3, rng())
    assert (chosen[:, 0] == 0).all()
    assert (chosen[:, 1] != chosen[:, 2]).all()
    for place in (1, 2):
        values, counts = np.unique(chosen[:, place], return_counts=True)
        np.testing.assert_array_equal(values, CANDIDATES)
        assert counts.min() > 330
        assert counts.max() < 470
    assert 0.45 < (chosen[:, 1] > chosen[:, 2]).mean() < 0.55


def test_random_views_without_the_region():
    chosen = RandomViews(tight_first=False).choose(pixels(), REGIONS, 10, rng())
    np.testing.assert_array_equal(np.sort(chosen, 1), np.tile(CANDIDATES, (2, 1)))


def test_fixed_views_and_task_priors():
    assert FixedViews([1.0]).choose(pixels(), REGIONS, 1, rng()).tolist() == [[1.0], [1.0]]
    assert TaskPrior("attributes").choose(pixels(), REGIONS, 2, rng()).tolist() == [[0, 0.1]] * 2
    assert TaskPrior("caption").choose(pixels(), REGIONS, 1, rng()).tolist() == [[0.0]] * 2
    own = TaskPrior("recognition", {"recognition": [0.3, 0.6]})
    assert own.choose(pixels(), REGIONS, 3, rng()).tolist() == [[0, 0.3, 0.6]] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedViews([]), "at least one ratio"),
        (lambda: FixedViews([0, 1.2]), "within"),
        (lambda: build_selection(["type", "random"]), "within"),
        (lambda: FixedViews([0, 0.4]).choose(pixels(), REGIONS, 3, rng()), "are 2, the model has 3"),
        (lambda: TaskPrior("recognition"), "view_prior"),
        (lambda: TaskPrior("caption").choose(pixels(), REGIONS, 3, rng()), "view_prior"),
        (lambda: RandomViews().choose(pixels(), REGIONS, 12, rng()), "candidates"),
        (lambda: ImagePrior().choose(pixels(), REGIONS, 12, rng()), "candidates"),
        (lambda: ImagePrior("sha1"), "hash='sha1'"),
        (lambda: build_selection("greedy"), "image_prior"),
        (lambda: build_selection({"type": "random", "views": 3}), "views"),
        (lambda: RegionViews(views=0), "views=0"),
        (lambda: RegionViews(several="first"), "several='first'"),
    ],
)
def test_settings_that_do_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_selections_by_name():
    assert isinstance(build_selection("image_prior"), ImagePrior)
    assert build_selection([0, 0.5]).ratios == (0.0, 0.5)
    assert build_selection({"type": "image_prior", "hash": "phash"}).hash == "phash"
    made = RandomViews()
    assert build_selection(made) is made


def test_greedy_choice_counts_all_views_chosen_before():
    distances = np.zeros((1, 11, 11), int)
    distances[0, 0, 1:] = [4, 7, 8, 9, 0, 0, 0, 0, 0, 0]
    distances[0, 1, 1:] = [0, 0, 30, 0, 0, 0, 0, 0, 0, 0]
    assert rank_once(distances, 3).places.tolist() == [[0, 1, 2]]
    assert pick_greedily(distances, 3).places.tolist() == [[0, 2, 1]]
    assert pick_greedily(distances * 0, 3).places.tolist() == [[0, 1, 2]]
    assert rank_once(distances * 0, 3).places.tolist() == [[0, 0, 0]]


def scene(width=320, height=240):
    """Blocks and noise: neighbouring crops are alike, as in pictures."""
    blocks = np.kron(pixels(width // 32, height // 24), np.ones((24, 32, 1), np.uint8))
    return (blocks // 2 + pixels(width, height) // 4).astype(np.uint8)


@pytest.mark.parametrize("views", [2, 3, 4, 5])
@pytest.mark.parametrize(("kind", "pick"), [("published", rank_once), ("phash", pick_greedily)])
def test_candidates_without_a_chance_are_not_hashed_and_change_nothing(kind, pick, views, monkeypatch):
    image, prior = scene(), ImagePrior(kind)
    low = rng(4).uniform(0, 0.7, (40, 2))
    regions = np.concatenate((low, low + rng(5).uniform(0.02, 0.3, low.shape)), 1) * (320, 240, 320, 240)
    regions = np.concatenate((regions, [[0, 0, 320, 240], [1, 1, 319, 239]]))
    bits = prior.candidate_bits(image, regions)
    every = pick((bits[:, :, None] != bits[:, None]).sum(3), views - 1).places
    make, hashed = HASHES[kind], []

    def counting(image):
        hashes = make(image)
        return lambda crops: (hashed.append(len(crops)), hashes(crops))[1]

    monkeypatch.setitem(HASHES, kind, counting)
    chosen = prior.choose(image, regions, views, rng())
    np.testing.assert_array_equal(chosen[:, 1:], np.array(CANDIDATES)[every])
    assert sum(hashed) < 0.9 * 11 * len(regions)


def test_no_hash_exceeds_what_a_ranking_allows_for():
    """The bound on differing bits, against hashes that are made to differ as much as they can."""
    bits = rng(2).random((300, 11, 64)) < rng(3).uniform(0.05, 0.95, (300, 11, 1))
    for count in (1, 2, 3, 4):
        ranking = pick_greedily((bits[:, :, None] != bits[:, None]).sum(3), count)
        ones = np.zeros((300, 64), int) + bits[:, 0]
        for place in range(count):
            worst = np.maximum(ones, place + 1 - ones).sum(1)
            assert (worst <= ranking.most[:, place] + 1e-9).all()
            ones += bits[np.arange(300), ranking.places[:, place] + 1]


def test_the_region_that_is_the_picture_gets_one_view_several_times():
    chosen = ImagePrior().choose(pixels(), REGIONS[1:], 3, rng())
    assert chosen.tolist() == [[0, 0.1, 0.1]]
    sample = RegionViews()(make_sample(boxes=REGIONS[1:]), rng())
    views, index = distinct_views(sample.extras["views"])
    assert len(views) == 1
    assert index.tolist() == [0, 0, 0]


def test_phash_never_repeats_a_view():
    chosen = ImagePrior("phash").choose(pixels(), REGIONS, 4, rng())
    assert all(len(set(row)) == 4 for row in chosen.tolist())


def test_a_sample_becomes_views():
    sample = make_sample()
    shown = RegionViews(views=2, side=32, selection=[0, 1])(sample, rng())
    assert shown.image is None
    assert sample.image is not None
    assert shown.extras["views"].shape == (2, 3, 32, 32)
    assert shown.extras["views"].dtype == np.uint8
    assert shown.extras["regions"].tolist() == [[0, 0, 32, 32], [4, 10, 16, 26]]
    assert shown.extras["ratios"].tolist() == [0, 1]
    assert RegionViews(keep_image=True)(sample, rng()).image is sample.image


def test_training_views_depend_on_the_random_numbers_only():
    sample, show = make_sample(), RegionViews(views=4, side=16, selection="random")
    first, second = (show(sample, rng(5)).extras["ratios"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len({tuple(show(sample, rng(seed)).extras["ratios"]) for seed in range(8)}) > 4


def test_views_after_a_flip_are_those_of_the_flipped_picture():
    flipped = HorizontalFlip(1.0)(make_sample(), rng())
    shown = RegionViews(views=1, side=30, selection=[0])(flipped, rng())
    straight = RegionViews(views=1, side=30, selection=[0])(make_sample(), rng())
    np.testing.assert_array_equal(shown.extras["views"][0], straight.extras["views"][0][:, :, ::-1])


def test_regions_become_a_batch_without_pictures():
    show = RegionViews(views=3, side=16)
    samples = [show(make_sample(80, 60, [box]), rng()) for box in ([10, 20, 40, 50], [0, 0, 80, 60])]
    plain = collate(samples)["inputs"]
    assert sorted(plain) == ["ratios", "regions", "views"]
    assert plain["views"].shape == (2, 3, 3, 16, 16)
    shared = collate(samples, share=True)["inputs"]
    assert shared["view_index"].tolist() == [[0, 1, 2], [3, 3, 3]]
    assert torch.equal(shared["views"][shared["view_index"]], plain["views"])
    with pytest.raises(ValueError, match="no pixels"):
        collate([samples[0], make_sample()])


def test_refshapes_becomes_views():
    data = RefShapesDataset(scenes=2, pipeline=[dict(type="RegionViews", side=32, selection="random")])
    batch = collate([data[index] for index in range(4)], share=True)
    assert batch["inputs"]["views"].shape[1:] == (3, 32, 32)
    assert batch["inputs"]["regions"].shape == (4, 3, 4)
    data.set_epoch(1)
    again = collate([data[index] for index in range(4)])
    assert not torch.equal(again["inputs"]["ratios"], batch["inputs"]["ratios"])


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([np.nan, 0, 5, 5], "not finite"),
        ([5, 0, 2, 5], "reversed"),
        ([5, 5, 5, 9], "no area"),
        ([90, 5, 95, 9], "outside the picture of 80 x 60"),
        ([-9, -9, 0, 0], "outside"),
    ],
)
def test_regions_without_pixels_are_refused(box, message):
    sample = make_sample()
    sample.boxes = np.array([box], np.float32)
    with pytest.raises(RegionError, match=f"record toy.1: region 0.*{message}"):
        RegionViews()(sample, rng())


def test_several_boxes_can_be_shown_as_one_region():
    show = RegionViews(views=1, side=30, selection=[0], several="enclose")
    shown = show(make_sample(boxes=[[10, 20, 40, 50], [30, 5, 60, 30]]), rng())
    whole = show(make_sample(boxes=[[10, 5, 60, 50]]), rng())
    np.testing.assert_array_equal(shown.extras["views"], whole.extras["views"])
    assert len(shown.boxes) == 2
    with pytest.raises(RegionError, match=r"region 1.*has no area"):
        show(make_sample(boxes=[[10, 20, 40, 50], [30, 5, 30, 30]]), rng())


def test_views_need_exactly_one_box():
    for boxes, several in (([[1, 1, 5, 5], [2, 2, 9, 9]], "refuse"), (np.zeros((0, 4)), "enclose")):
        with pytest.raises(RegionError, match=rf"record toy\.1: .*{len(boxes)} boxes"):
            RegionViews(several=several)(make_sample(boxes=boxes), rng())
    with pytest.raises(RegionError, match=r"expected boxes \(R, 4\)"):
        check_regions(np.zeros(4), 8, 8)


@pytest.mark.parametrize("box", [[0, 0, 0.4, 30], [79.6, 5, 80, 9], [3, 59.9, 40, 60], [0.1, 0.1, 0.2, 0.3]])
def test_regions_below_a_pixel_get_the_pixel_they_lie_in(box):
    shown = RegionViews(views=2, side=8)(make_sample(boxes=[box]), rng())
    assert np.isfinite(shown.extras["regions"]).all()
    crops = crop_boxes(np.array([box]), np.zeros(1), (80, 60))[0, 0]
    assert (crops[2:] > crops[:2]).all()
    assert (crops[:2] >= 0).all()
    assert (crops[2:] <= (80, 60)).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "polygons"),
        ([[1, 2, 3]], "polygons"),
        ({"size": [4, 4], "counts": [16]}, "no pixel"),
        ({"size": [4, 4], "counts": [3, 4]}, "cover 7 pixels"),
        ({"size": [5, 4], "counts": "P1"}, "size"),
        ({"size": [4, 4], "counts": None}, "counts"),
    ],
)
def test_outlines_without_a_box_are_refused(segmentation, message):
    with pytest.raises(RegionError, match=message):
        region_box(segmentation, 4, 4)


def test_a_box_outside_keeps_its_part_of_the_picture():
    crops = crop_boxes(np.array([[-5.0, 10, 200, 90]]), np.array([0, 1.0]), (80, 60))
    assert crops.tolist() == [[[0, 10, 80, 60], [0, 0, 80, 60]]]
    inside = regions_in_views(np.array([[-5.0, 10, 200, 90]]), crops, (80, 60), 60)
    assert inside.tolist() == [[[0, 0, 60, 60], [0, 10, 60, 60]]]
