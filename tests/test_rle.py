import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from refkit import rle

MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@settings(deadline=None, max_examples=150)
@given(MASKS)
def test_agrees_with_coco_and_comes_back(mask):
    packed = rle.encode(mask)
    assert packed == {
        "size": list(mask.shape),
        "counts": coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode(),
    }
    assert rle.mask_fault(packed, *mask.shape) is None
    np.testing.assert_array_equal(rle.decode(packed), mask)
    assert rle.area(packed) == mask.sum() == coco.area(packed)
    if mask.any():
        x, y, width, height = coco.toBbox(packed)
        assert rle.bounds(packed) == (x, y, x + width, y + height)
    else:
        assert rle.bounds(packed) is None


def test_long_runs():
    mask = np.zeros((3000, 4000), bool)
    mask[1000:2900, 17:3998] = True
    packed = rle.encode(mask)
    assert rle.bounds(packed) == (17.0, 1000.0, 3998.0, 2900.0)
    assert rle.area(packed) == mask.sum()


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40))
def test_any_text_is_accepted_or_refused_but_never_decoded_wrongly(counts):
    mask = {"size": [5, 7], "counts": counts}
    if rle.mask_fault(mask, 5, 7) is None:
        np.testing.assert_array_equal(rle.decode(mask), coco.decode(mask).astype(bool))
    else:
        with pytest.raises(ValueError, match=r"mask\.counts"):
            rle.decode(mask)


def test_runs_that_do_not_cover_the_picture_never_reach_c():
    with pytest.raises(ValueError, match="the runs cover 0 pixels, the image has 307200"):
        rle.decode({"size": [480, 640], "counts": "00000"})
