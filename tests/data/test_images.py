"""Pictures are found under several layouts; whatever cannot be used is refused by name."""

import json

import numpy as np
import pytest
from PIL import Image

from refkit.data.images import ImageError, find_image, load_image


def picture(path, size=(64, 48), mode="RGB", **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **save)
    return path


@pytest.mark.parametrize(
    "place",
    [
        "COCO_train2014_000000000009.jpg",
        "train2014/COCO_train2014_000000000009.jpg",
        "images/train2014/COCO_train2014_000000000009.jpg",
        "other/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg",
        "train2017/000000000009.jpg",
        "val2017/000000000009.jpg",
        "coco/train2017/000000000009.jpg",
        "000000000009.jpg",
        "images/COCO_train2014_000000000009.jpg",
    ],
)
def test_coco_layouts(tmp_path, place):
    expected = picture(tmp_path / place)
    assert find_image(tmp_path, "COCO_train2014_000000000009.jpg") == expected
    if "train2014" not in place:
        assert find_image(tmp_path, "000000000009.jpg") == expected


def test_the_named_place_wins_and_folders_may_be_flattened(tmp_path):
    flat = picture(tmp_path / "a.jpg")
    assert find_image(tmp_path, "train/a.jpg") == flat
    exact = picture(tmp_path / "train" / "a.jpg")
    assert find_image(tmp_path, "train/a.jpg") == exact


def test_other_names_are_no_coco_numbers(tmp_path):
    picture(tmp_path / "train2017" / "000000000009.jpg")
    with pytest.raises(ImageError, match=r"picture '9\.jpg' is not below"):
        find_image(tmp_path, "9.jpg")


def test_a_missing_picture_names_record_places_and_remedy_and_is_found_later(tmp_path):
    with pytest.raises(ImageError, match=r"record toy\.7: picture 'x\.jpg'.*tried .*x\.jpg") as caught:
        find_image(tmp_path, "x.jpg", "toy.7")
    assert all(name in str(caught.value) for name in ("--image-root", "--data-root", "REFKIT_DATA"))
    path = picture(tmp_path / "x.jpg")
    assert find_image(tmp_path, "x.jpg", "toy.7") == path


def test_loads_rgb_bytes(tmp_path):
    loaded = load_image(picture(tmp_path / "a.png"), size=(64, 48))
    assert loaded.shape == (48, 64, 3)
    assert np.array_equal(loaded, np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("name", "mode"), [("a.png", "L"), ("a.jpg", "CMYK"), ("a.png", "P"), ("a.png", "RGBA")]
)
def test_other_modes_become_rgb(tmp_path, name, mode):
    loaded = load_image(picture(tmp_path / name, mode=mode))
    assert loaded.shape == (48, 64, 3)
    assert loaded.dtype == np.uint8


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path / "a.jpg", exif=exif)
    assert load_image(path, size=(64, 48)).shape == (48, 64, 3)


def test_a_truncated_file_is_refused(tmp_path):
    path = picture(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(
        ImageError, match=r"record toy\.7: .*a\.jpg cannot be read \(.*truncated.*fetch it again"
    ):
        load_image(path, "toy.7")


def test_text_is_no_picture(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("not found")
    with pytest.raises(ImageError, match="is not a picture that Pillow can read"):
        load_image(path)


def test_sixteen_bits_are_refused_instead_of_clipped(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(path)
    with pytest.raises(ImageError, match="convert it to 8 bits"):
        load_image(path)


def test_another_size_than_the_record_says_is_refused(tmp_path):
    with pytest.raises(ImageError, match="is 64 x 48 pixels, the record says 48 x 64"):
        load_image(picture(tmp_path / "a.jpg"), size=(48, 64))


@pytest.mark.shared
def test_real_pictures_have_the_annotated_size(shared):
    folder = shared / "data" / "refcoco_images"
    sizes = {}
    with (folder / "records.jsonl").open(encoding="utf-8") as file:
        for entry in map(json.loads, file):
            sizes[entry["image"].removeprefix("images/")] = (entry["width"], entry["height"])
    assert len(sizes) == 128
    for name, size in sizes.items():
        loaded = load_image(find_image(folder, name), size=size)
        assert loaded.shape == (size[1], size[0], 3)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        load_image(tmp_path / "a.jpg")
