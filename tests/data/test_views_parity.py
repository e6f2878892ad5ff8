"""Views against the numbers of the released DynRefer (`tests/golden/dynrefer`): exactly, pixels to 1e-5."""

from __future__ import annotations

import json

import cv2
import imagehash
import numpy as np
import pytest
from PIL import Image

from refkit.data.view_hash import CropHashes, grey, perceptual_hash, published_hash
from refkit.data.view_selection import ImagePrior
from refkit.data.views import CANDIDATES, crop_boxes, cut_views, region_box, regions_in_views

RATIOS = np.array((0.0, *CANDIDATES))
MEAN = np.array((0.48145466, 0.4578275, 0.40821073))
STD = np.array((0.26862954, 0.26130258, 0.27577711))


@pytest.fixture(scope="module")
def cases(repository):
    return json.loads((repository / "tests/golden/dynrefer/views_cases.json").read_text())


def picture(case):
    """The generator of the pack's README."""
    rs = np.random.RandomState(case["seed"])
    h, w, block = case["height"], case["width"], case["block"]
    coarse = rs.randint(0, 256, (-(-h // block), -(-w // block), 3), dtype=np.uint8)
    base = np.repeat(np.repeat(coarse, block, 0), block, 1)[:h, :w].astype(np.int64)
    yy, xx = np.mgrid[0:h, 0:w]
    ramp = np.stack([(xx * 3 + yy) % 97, (xx + 2 * yy) % 89, (2 * xx + 3 * yy) % 101], -1)
    noise = rs.randint(0, 32, (h, w, 3), dtype=np.uint8)
    image = np.clip((base * 3 + ramp * 2 + noise * 2) // 5, 0, 255).astype(np.uint8)
    assert image.sum(dtype=np.int64) == case["pixel_sum"]
    return image


@pytest.fixture(scope="module")
def pictures(cases):
    return [picture(case) for case in cases]


def every_region(cases):
    return [(number, case, region) for number, case in enumerate(cases) for region in case["regions"]]


def test_region_boxes_from_polygons_and_masks(cases):
    for _, case, region in every_region(cases):
        found = region_box(region["segmentation"], case["width"], case["height"])
        assert list(found) == region["box"], region["name"]


def test_crops_and_regions_inside_views(cases):
    for _, case, region in every_region(cases):
        size, boxes = (case["width"], case["height"]), np.array([region["box"]])
        crops = crop_boxes(boxes, RATIOS, size)
        assert crops[0].tolist() == region["crops"], region["name"]
        inside = regions_in_views(boxes, crops, size)
        assert inside.dtype == np.float32
        assert inside[0].tolist() == region["regions"], region["name"]


def test_edge_of_the_full_view_truncates_to_223_for_some_sizes(repository):
    expected = json.loads((repository / "tests/golden/dynrefer/box_rounding.json").read_text())
    sizes = np.arange(1, expected["max_size"] + 1)
    boxes = np.stack((sizes * 0, sizes * 0, sizes, sizes), 1).astype(np.float64)
    size = (expected["max_size"], expected["max_size"])
    edges = regions_in_views(boxes, crop_boxes(boxes, np.zeros(1), size), size)[:, 0]
    assert set(edges[:, 2]) == {223.0, 224.0}
    assert sizes[edges[:, 2] == 223].tolist() == expected["sizes_with_full_edge_223"]
    np.testing.assert_array_equal(edges[:, 2], edges[:, 3])


def test_hash_bits_distances_and_chosen_views(cases, pictures):
    prior, rng = ImagePrior(), np.random.default_rng(0)
    for number, case, region in every_region(cases):
        boxes = np.array([region["box"]])
        bits = prior.candidate_bits(pictures[number], boxes)[0]
        found = ["".join("01"[int(bit)] for bit in row) for row in bits]
        assert [f"{int(text, 2):016x}" for text in found] == region["hashes"], (case["seed"], region["name"])
        assert (bits[0] != bits[1:]).sum(1).tolist() == region["hamming"]
        for views in (1, 2, 3, 4):
            chosen = prior.choose(pictures[number], boxes, views, rng)
            assert chosen[0].tolist() == region["selected"][:views], region["name"]


def test_pixels_of_views(cases, pictures):
    for number, _, region in every_region(cases)[::3]:
        crops = np.array([region["crops"][round(float(t) * 10)] for t in region["pixels"]])
        views = cut_views(pictures[number], crops)
        for view, expected in zip(views, region["pixels"].values(), strict=True):
            values = (view.transpose(1, 2, 0) / 255 - MEAN) / STD
            np.testing.assert_allclose(
                values[28::56, 28::56].transpose(2, 0, 1), expected["probe"], atol=1.1e-5
            )
            np.testing.assert_allclose(values.mean((0, 1)), expected["mean"], atol=1e-5)
            np.testing.assert_allclose(values.std((0, 1)), expected["std"], atol=1e-5)


def test_grey_levels_are_those_of_opencv(pictures):
    rng = np.random.default_rng(3)
    for image in (pictures[2], rng.integers(0, 256, (64, 77, 3), dtype=np.uint8)):
        np.testing.assert_array_equal(grey(image), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def test_bits_of_random_crops_are_those_of_opencv(pictures):
    rng, image = np.random.default_rng(4), pictures[2]
    levels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    corners = np.sort(rng.integers(0, (334, 501), (60, 2, 2)), axis=1).reshape(-1, 4)
    crops = corners[(corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])]
    near = 0
    for crop, bits in zip(crops, published_hash(grey(image), crops), strict=True):
        left, top, right, bottom = crop
        corner = cv2.dct(cv2.resize(levels[top:bottom, left:right], (224, 224)))[:8, :8].ravel()
        away = corner - corner.mean()
        sure = np.abs(away) > 0.05
        near += int((~sure).sum())
        np.testing.assert_array_equal(bits[sure], away[sure] > 0)
    assert near < 0.005 * 64 * len(crops)


def test_perceptual_hashes_are_those_of_the_library(pictures):
    crops = np.array([[0, 0, 333, 500], [10, 20, 110, 170], [300, 3, 333, 400], [5, 5, 6, 6]])
    low = np.random.default_rng(8).integers(0, (300, 450), (60, 2))
    high = np.minimum(low + np.random.default_rng(9).integers(1, (300, 450), low.shape), (333, 500))
    crops = np.concatenate((crops, np.concatenate((low, high), 1)))
    whole = Image.fromarray(pictures[2])
    expected = [imagehash.phash(whole.crop(tuple(crop))).hash.ravel() for crop in crops.tolist()]
    np.testing.assert_array_equal(perceptual_hash(whole.convert("L"), crops), expected)
    np.testing.assert_array_equal(CropHashes(pictures[2], "phash")(crops), expected)
