"""What the drawn pictures show, looked up in their pixels."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from refkit import rle
from refkit.inference.drawing import (
    PREDICTED,
    TRUE,
    Answer,
    DrawingError,
    answer_page,
    captioned_answer,
    draw_answer,
    save_picture,
)
from refkit.structures import Prediction


def answer(box=(20.0, 10.0, 60.0, 40.0), truth=((20.0, 10.0, 60.0, 50.0),), text="the grey one", **fields):
    boxes = np.array([box], float) if box is not None else np.zeros((0, 4))
    image = Image.new("RGB", (100, 60), (128, 128, 128))
    known = None if truth is None else np.array(truth, float).reshape(-1, 4)
    return Answer(image, text, Prediction("a", boxes, **fields), known)


def shows(picture, colour):
    return (np.asarray(picture) == colour).all(axis=-1)


def test_truth_and_prediction_have_their_own_colours_where_they_are():
    drawn = draw_answer(answer(), width=200)
    assert drawn.size == (200, 120)
    rows, columns = np.nonzero(shows(drawn, PREDICTED))
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (40, 120, 20, 80)
    assert shows(drawn, TRUE)[98, 80]  # the lower edge of the truth, which the prediction does not cover


def test_the_picture_itself_is_left_as_it_was():
    given = answer()
    draw_answer(given)
    assert np.asarray(given.image).min() == np.asarray(given.image).max() == 128


def test_unusable_boxes_are_not_drawn_and_count_as_missed():
    for box in (None, (np.nan, 0, 1, 1), (60.0, 0.0, 20.0, 10.0)):
        given = answer(box, status="failed" if box is None else "ok")
        assert not shows(draw_answer(given), PREDICTED).any()
        assert given.iou == 0.0


def test_the_overlap_is_that_of_the_protocol():
    assert answer().iou == pytest.approx(0.75)
    assert answer((20.0, 10.0, 60.0, 500.0)).iou == pytest.approx(0.8)  # clipped to the picture first
    assert answer(truth=None).iou is None
    assert answer(truth=((0, 0, 9, 9), (1, 1, 9, 9))).iou is None


def half(top, left):
    mask = np.zeros((60, 100), bool)
    mask[top:, left:] = True
    return mask


def test_a_predicted_mask_tints_its_area_and_has_an_outline():
    given = answer(None, None, mask=rle.encode(half(30, 50)))
    drawn = np.asarray(draw_answer(given, width=200)).astype(int)
    assert (drawn[:59] == 128).all() and (drawn[:, :99] == 128).all()
    inside = drawn[70:110, 110:190, 0]
    assert (inside > 150).all() and (inside < PREDICTED[0]).all(), "translucent"
    assert shows(drawn, PREDICTED)[60, 102:198].all() and shows(drawn, PREDICTED)[62:118, 100].all()


def test_an_annotated_mask_is_an_outline_over_the_prediction():
    plain = answer(None, None, mask=rle.encode(half(0, 0)))
    given = Answer(plain.image, "x", plain.prediction, None, [rle.encode(half(30, 50))])
    drawn = draw_answer(given, width=200)
    rows, columns = np.nonzero(shows(drawn, TRUE))
    assert (rows.min(), columns.min(), rows.max(), columns.max()) == (60, 100, 119, 199)
    assert not shows(drawn, TRUE)[70:110, 110:190].any()


def test_masks_are_compared_under_their_own_protocol():
    given = replace(answer(mask=rle.encode(half(0, 50))), truth_masks=[rle.encode(half(30, 0))])
    assert given.mask_iou == pytest.approx(1 / 3)
    assert answer(mask=rle.encode(half(0, 50))).mask_iou is None
    assert replace(answer(), truth_masks=[rle.encode(half(0, 50))]).mask_iou is None
    empty = rle.encode(np.zeros((60, 100)))
    assert replace(answer(mask=empty), truth_masks=[empty]).mask_iou == 0
    page, plain = (answer_page([one], "title") for one in (given, replace(given, truth_masks=())))
    assert page.size == plain.size
    assert np.asarray(page)[:92].tolist() != np.asarray(plain)[:92].tolist()  # the summary tells of masks


def test_a_mask_of_another_picture_is_refused():
    with pytest.raises(
        DrawingError, match="a mask of 60 x 100 pixels does not belong to a picture of 100 x 60"
    ):
        draw_answer(answer(mask=rle.encode(half(30, 50).T)))


def test_captions_make_room_below_the_picture():
    assert captioned_answer(answer()).width == 360
    assert captioned_answer(answer()).height > 360 * 60 / 100 + 20


def test_a_page_counts_hits_and_is_as_wide_as_its_columns():
    page = answer_page(
        [answer(), answer((0, 0, 5, 5)), answer(None, status="refused", truth=None)], "x", 3, width=200
    )
    assert page.width == 3 * 208 + 8
    narrow = answer_page(
        [answer(text="long " * 60)], "a title much too long for one narrow column", width=150
    )
    assert narrow.width == 166
    with pytest.raises(DrawingError, match="at least one answer"):
        answer_page([], "x")


def test_pictures_are_saved_as_png_or_jpeg_only(tmp_path):
    picture = draw_answer(answer(scores=np.array([0.9])))
    assert Image.open(save_picture(picture, tmp_path / "a.png")).format == "PNG"
    assert Image.open(save_picture(picture, tmp_path / "a.JPG")).format == "JPEG"
    with pytest.raises(DrawingError, match=r"ends in \.png or \.jpg"):
        save_picture(picture, tmp_path / "a.gif")
