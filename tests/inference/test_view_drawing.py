"""Pictures of views."""

import numpy as np
import pytest
from PIL import Image

from refkit.data.views import RegionError
from refkit.inference.view_drawing import draw_regions, draw_views, views_page


def picture(width=120, height=80):
    return Image.fromarray(np.full((height, width, 3), 128, np.uint8))


def test_a_strip_has_the_picture_and_every_view():
    strip = draw_views(picture(), [30, 20, 60, 50], [0, 0.4, 1], side=64)
    assert strip.height == 64 + 16
    assert strip.width == (96 + 8) + 3 * (64 + 8) + 8
    pixels = np.asarray(strip)
    assert (pixels[:, 104:] != pixels[0, 0]).any(axis=(0, 2))[:-8].mean() > 0.85


def test_every_view_shows_its_region():
    from refkit.data.draw import COLOURS

    strip = np.asarray(draw_views(picture(), [30, 20, 60, 50], [1.0], side=60))
    # Overview 90 x 60, then the view of the whole picture: the region is [15, 15, 30, 37] there.
    view = strip[8:68, 8 + 90 + 8 : 8 + 90 + 8 + 60]
    outlined = np.argwhere((view == COLOURS[0]).all(axis=2))
    below_label = outlined[outlined[:, 0] > 20]
    assert below_label[:, 1].min() in (15, 16)
    assert below_label[:, 1].max() in (28, 29)
    assert below_label[:, 0].max() in (35, 36)


def test_texts_stand_below_and_strips_below_each_other():
    one = draw_views(picture(), [30, 20, 60, 50], [0, 0.1], text="a grey wall", side=64)
    assert one.height > 64 + 16
    page = views_page([one, one])
    assert page.height > 2 * one.height


def test_regions_without_pixels_are_refused():
    with pytest.raises(RegionError, match="outside"):
        draw_views(picture(), [130, 20, 160, 50], [0])


def test_regions_are_outlined_in_a_picture_that_is_large_enough_to_read():
    from refkit.data.draw import COLOURS

    plain = draw_regions(picture(), [[30, 20, 60, 50]], [""], width=240)
    page = draw_regions(picture(), [[30, 20, 60, 50], [0, 0, 9, 9]], ["a wall", "grey " * 90], width=240)
    assert plain.width == page.width == 240 and page.height > plain.height > 160
    outlined = np.argwhere((np.asarray(page)[:160] == COLOURS[0]).all(axis=2))
    assert (abs(outlined.max(axis=0) - (100, 120)) <= 1).all()
    assert draw_regions(picture(300, 100), [[1, 1, 9, 9]], ["x"], width=240).width == 300
