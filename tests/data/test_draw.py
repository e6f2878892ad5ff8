import numpy as np
import pytest
from PIL import Image

from refkit import rle
from refkit.data import draw, show
from refkit.data.images import ImageError
from refkit.data.records import ImageRef, RecordFile, Target, write_records

GREY = (128, 128, 128)


def grey(width=80, height=60):
    return Image.new("RGB", (width, height), GREY)


def changed(image):
    return (np.asarray(image) != np.asarray(grey(*image.size))).any(-1)


def test_a_box_is_drawn_on_its_border_and_nowhere_else():
    image = grey()
    draw.draw_box(image, (10, 20, 50, 45), (255, 0, 0), width=2)
    pixels = changed(image)
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (20, 44, 10, 49)
    assert not pixels[24:41, 14:46].any()
    assert tuple(np.asarray(image)[20, 30]) == (255, 0, 0)


@pytest.mark.parametrize("box", [(-50, -50, 500, 500), (70, 50, 90, 70), (200, 200, 300, 300), (5, 5, 5, 5)])
def test_boxes_that_leave_the_picture_do_not_fail(box):
    image = grey()
    draw.draw_box(image, box, (255, 0, 0))
    assert changed(image).any() and image.size == (80, 60)


def test_a_mask_tints_its_pixels_only():
    image, mask = grey(), np.zeros((60, 80), bool)
    mask[10:20, 30:50] = True
    draw.draw_mask(image, mask, (255, 0, 0), opacity=1.0)
    np.testing.assert_array_equal(changed(image), mask)
    assert tuple(np.asarray(image)[15, 40]) == (255, 0, 0)
    with pytest.raises(ValueError, match="does not fit a picture of 80 x 60"):
        draw.draw_mask(image, mask.T, (255, 0, 0))


def test_an_outline_stays_on_the_inner_border_of_its_area():
    image, mask = grey(), np.zeros((60, 80), bool)
    mask[10:40, 30:80] = True
    mask[20:24, 50:54] = False
    draw.draw_outline(image, mask, (255, 0, 0), width=2)
    red = (np.asarray(image) == (255, 0, 0)).all(-1)
    assert red[10:12, 30:80].all() and red[10:40, 30:32].all()
    assert red[10:40, 78:80].all(), "the edge of the picture closes the area"
    assert red[18:20, 48:56].all() and not changed(image)[20:24, 50:54].any(), "around a hole"
    assert not changed(image)[~mask].any() and not changed(image)[28:36, 36:74].any()
    with pytest.raises(ValueError, match="does not fit a picture of 80 x 60"):
        draw.draw_outline(image, mask.T, (255, 0, 0))


@pytest.mark.parametrize("at", [(5, 30), (5, 0), (79, 59), (-10, -10), (200, 200)])
def test_a_label_stays_inside(at):
    image = grey(200, 100)
    draw.draw_label(image, "dog 0.93", at, draw.colour(3), size=12)
    assert changed(image).sum() > 100


def test_an_empty_label_draws_nothing():
    image = grey()
    draw.draw_label(image, "", (5, 30), draw.colour(0))
    assert not changed(image).any()


def test_colours_repeat_and_letters_stay_readable():
    assert draw.colour(0) == draw.colour(7) != draw.colour(1)
    assert len(set(draw.COLOURS)) == 7
    for ground, letters in (((240, 228, 66), (0, 0, 0)), ((0, 0, 120), (255, 255, 255))):
        image = grey(200, 100)
        draw.draw_label(image, "MMMM", (5, 50), ground, size=30)
        assert (np.asarray(image) == letters).all(-1).any()


def test_captions_are_wrapped_and_cut():
    short, long = (draw.captioned(grey(), text, 160, lines=2) for text in ("dog", "dog " * 200))
    assert short.size == long.size and short.width == 160 and short.height > 120
    assert draw.captioned(grey(), "", 160, lines=2).size == short.size


@pytest.mark.parametrize(
    "text", ["one of two bananas is placed immediately to the right", "W" * 60, "WWWW mmm" * 3, "ill " * 30]
)
def test_captions_stay_inside_their_tile(text):
    tile = np.asarray(draw.captioned(grey(), text, 280, lines=2))
    below = tile[round(280 * grey().height / grey().width) :]
    assert (below != below[-1, -1]).any()
    assert (below[:, -3:] == below[-1, -1]).all()


def test_letters_beyond_latin_are_drawn():
    assert draw.font(20).getmask("собака").getbbox() is not None


def test_sheets_hold_all_tiles():
    tiles = [Image.new("RGB", (40, 30 + 10 * index), draw.colour(index)) for index in range(5)]
    sheet = draw.contact_sheet(tiles, columns=2, gap=4)
    assert sheet.size == (2 * 44 + 4, 40 + 60 + 70 + 4 * 4)
    pixels = np.asarray(sheet).reshape(-1, 3)
    for index, tile in enumerate(tiles):
        assert (pixels == draw.colour(index)).all(-1).sum() == tile.width * tile.height
    assert draw.contact_sheet(tiles[:1], columns=4, gap=4).width == 48
    for arguments in (([], 2), (tiles, 0)):
        with pytest.raises(ValueError, match="needs tiles and columns"):
            draw.contact_sheet(*arguments)


@pytest.fixture
def drawn(tmp_path, made_header, make_record):
    """Six records on two pictures, texts with markup, one with a mask, one without a target."""
    for number in range(2):
        grey(64, 48).save(tmp_path / f"{number:06d}.jpg")
    mask = np.zeros((48, 64), bool)
    mask[10:20, 10:30] = True
    records = [make_record(number) for number in range(6)]
    records[0].text = "<script>alert('x')</script> & \"quoted\""
    records[1] = make_record(1, targets=[Target((10.0, 10.0, 30.0, 20.0), rle.encode(mask))], object=None)
    records[2] = make_record(2, targets=[], object=None)
    records[3] = make_record(3, text=None, references=["a dog", "an animal"])
    path = tmp_path / "made.jsonl"
    write_records(path, made_header(), records)
    return path


def test_a_contact_sheet(drawn, tmp_path):
    out = show.show(drawn, tmp_path / "out.png", tmp_path, count=5, width=100, columns=3)
    with Image.open(out) as sheet:
        assert sheet.format == "PNG" and sheet.width == 3 * 108 + 8
    first = out.read_bytes()
    assert (
        show.show(drawn, tmp_path / "again.png", tmp_path, count=5, width=100, columns=3).read_bytes()
        == first
    )
    with Image.open(show.show(drawn, tmp_path / "out.jpg", tmp_path, count=2)) as sheet:
        assert sheet.format == "JPEG"


def test_a_page_is_escaped_and_refers_to_nothing(drawn, tmp_path):
    text = show.show(drawn, tmp_path / "out.html", tmp_path, count=100).read_text()
    assert text.count("<figure>") == 6 and "6 of 6 records" in text
    assert (
        "<script" not in text
        and "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;quoted&#34;" in text
    )
    assert text.count('src="data:image/jpeg;base64,') == 6
    assert "http" not in text and "a dog / an animal" in text


def test_cards_show_boxes_and_masks(drawn, tmp_path):
    records = RecordFile(drawn)
    plain, masked, none = (show.card(records[index], tmp_path) for index in range(3))
    assert changed(plain.image).any() and plain.note == "made.0 · dog"
    assert (np.asarray(masked.image)[14:16, 16:24] != np.array(GREY)).any()
    assert np.abs(np.asarray(none.image, int) - 128).max() < 8 and none.note == "made.2 · 0 targets"


def test_named_records_are_shown_in_the_order_asked_for(drawn):
    records = RecordFile(drawn)
    assert [record.id for record in show.choose(records, 9, ids=["made.4", "made.1"])] == ["made.4", "made.1"]
    with pytest.raises(show.ShowError, match=r"has no record made\.77"):
        show.choose(records, 9, ids=["made.77"])
    assert show.choose(records, 3, seed=1) == show.choose(records, 3, seed=1)


def test_what_cannot_be_shown(drawn, tmp_path, made_header, make_record):
    with pytest.raises(show.ShowError, match=r"expected a name that ends in \.png"):
        show.show(drawn, tmp_path / "out.pdf", tmp_path)
    with pytest.raises(ImageError, match=r"000000\.jpg"):
        show.show(drawn, tmp_path / "out.png", tmp_path / "absent")
    write_records(tmp_path / "empty.jsonl", made_header(), [])
    with pytest.raises(show.ShowError, match="holds no records"):
        show.show(tmp_path / "empty.jsonl", tmp_path / "out.png", tmp_path)
    other = make_record(0, image=ImageRef("000000.jpg", 640, 480))
    with pytest.raises(ImageError, match="the record says 640 x 480"):
        show.card(other, tmp_path)
