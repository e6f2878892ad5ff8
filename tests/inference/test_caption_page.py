"""Pages of captions: the region in its surroundings, what was written, what people said."""

import numpy as np
import pytest
from PIL import Image

from refkit.data.records import Header, ImageRef, Record, RecordFile, Target, write_records
from refkit.data.refshapes.region_captions import iter_object_records
from refkit.data.refshapes.world import iter_records
from refkit.inference.caption_page import CaptionedRegion, caption_page
from refkit.inference.drawing import HIT, MISS, TRUE
from refkit.inference.page import _is_captioned, draw_prediction_page
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.structures import Prediction

BOX = (20.0, 10.0, 40.0, 30.0)


def region(caption="A red car.", references=("red car", "a red car"), status="ok"):
    image = Image.new("RGB", (200, 100), (128, 128, 128))
    return CaptionedRegion(image, BOX, Prediction("a", status=status, caption=caption), references)


def has(picture, ink):
    """Whether a colour is there at all; letters and lines have some pixels of their very ink."""
    return (np.asarray(picture) == ink).all(axis=-1).any()


def test_captions_are_compared_in_the_spelling_in_which_they_are_learnt():
    assert region().word_for_word
    assert not region("a red bus").word_for_word
    assert not region(None, status="failed").word_for_word


def test_colours_tell_right_words_from_none():
    right, other, nothing = (
        caption_page([one], "title", width=240)
        for one in (region(), region("a blue bus"), region(None, status="failed"))
    )
    assert [has(page, HIT) for page in (right, other, nothing)] == [True, False, False]
    assert [has(page, MISS) for page in (right, other, nothing)] == [False, False, True]
    assert np.asarray(right)[:60].tolist() != np.asarray(other)[:60].tolist()  # the summary counts


def test_the_region_is_outlined_where_it_is():
    page = np.asarray(caption_page([region()], "title", columns=1, width=280))[92:]
    rows, columns = np.nonzero((page == TRUE).all(axis=-1))
    # Between region and picture by 0.4: the crop is (12, 6, 104, 58), 280 / 92 times as large on the page,
    # which begins with a margin of 8.
    scale = 280 / 92
    assert columns.min() == pytest.approx(8 + 8 * scale, abs=2)
    assert columns.max() == pytest.approx(8 + 28 * scale, abs=3)
    assert rows.min() == pytest.approx(8 + 4 * scale, abs=2)
    assert rows.max() == pytest.approx(8 + 24 * scale, abs=3)


def test_a_high_region_does_not_make_a_high_tile():
    image = Image.new("RGB", (60, 400), (128, 128, 128))
    high = CaptionedRegion(image, (10, 10, 30, 390), region().prediction, ["a red car"])
    assert caption_page([high], "title", width=200).height < 92 + 16 + 150 + 120


def test_no_region_makes_no_page():
    with pytest.raises(ValueError, match="needs tiles"):
        caption_page([], "title")


def test_the_page_of_a_prediction_file_is_chosen_by_its_records(tmp_path):
    Image.new("RGB", (200, 100), (128, 128, 128)).save(tmp_path / "a.png")
    record = Record("a", ImageRef("a.png", 200, 100), targets=[Target(BOX)], references=["a red car"])
    header = write_records(tmp_path / "r.jsonl", Header("mine", "own", "all", task=["caption"]), [record])
    prediction = Prediction("a", np.array([BOX]), np.ones(1), caption="a red car")
    write_predictions(tmp_path / "p.jsonl", PredictionHeader.answering(header, "me"), [prediction])
    file = RecordFile(tmp_path / "r.jsonl")
    page = draw_prediction_page(file, tmp_path / "p.jsonl", tmp_path / "page.png", image_root=tmp_path)
    assert has(Image.open(page), HIT)


def test_a_sentence_that_was_asked_makes_it_no_page_of_captions():
    """Expressions of RefShapes know captions of their targets, too."""
    asked, told = next(iter_records(1, 0, 1, 96)), next(iter_object_records(1, 0, 1, 96))
    assert asked.references and told.references
    assert [_is_captioned(record) for record in (asked, told)] == [False, True]
