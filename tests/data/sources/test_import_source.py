"""What all importers share: options, places, messages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from refkit.data.records import ImageRef
from refkit.data.sources import SOURCES, Option, SourceError, import_source
from refkit.data.sources.identity import IdAssigner, image_number
from refkit.data.sources.readfile import read_json


def test_every_source_describes_itself():
    assert list(SOURCES) == [
        *("refer", "transvg", "referit", "flickr30k", "mdetr"),
        *("vg", "dynrefer", "captions", "ovad", "conversations", "ferret-bench"),
        *("coco", "jsonl", "refshapes"),
    ]
    for name, spec in SOURCES.items():
        assert spec.name == name
        assert spec.help.endswith(".")
        for option in spec.options:
            assert option.help.endswith(".")
            assert option.type in (str, int, float, bool, Path)
            assert (
                not option.choices
                or option.required
                or option.default is None
                or option.default in option.choices
            )


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("refr", {}, "unknown source 'refr'; did you mean refer"),
        ("xyz", {}, "there are refer, transvg"),
        ("refer", {"split": "val"}, "no option 'split'; did you mean splits"),
        ("refer", {"zzz": 1}, "no option 'zzz'; it has dataset"),
        ("refer", {"polygons": "perhaps"}, "option polygons: expected true or false, got 'perhaps'"),
        ("flickr30k", {"boxes": "union"}, "option boxes: 'union' is none of any, merged"),
        ("refshapes", {"seed": "x"}, "option seed: expected int, got 'x'"),
        ("coco", {}, "source coco needs the option name"),
    ],
)
def test_wrong_sources_and_options_are_explained(tmp_path, source, options, message):
    paths = [] if source == "refshapes" else tmp_path
    with pytest.raises(SourceError, match=message):
        import_source(source, paths, tmp_path / "out", **options)


def test_missing_and_superfluous_paths_are_explained(tmp_path):
    with pytest.raises(SourceError, match="does not exist; refer wants the folder of one set"):
        import_source("refer", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(SourceError, match="give exactly one path"):
        import_source("refer", [tmp_path, tmp_path], tmp_path / "out")
    with pytest.raises(SourceError, match="nothing"):
        (tmp_path / "empty").mkdir()
        import_source("refer", tmp_path / "empty", tmp_path / "out")


def test_two_inputs_may_not_share_a_file(tmp_path):
    line = {"image": "a.jpg", "width": 9, "height": 9, "expressions": ["a"], "bbox": [1, 1, 3, 3]}
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text(json.dumps(line))
    with pytest.raises(SourceError, match="two inputs would both be written"):
        import_source("jsonl", [tmp_path / "one.jsonl", tmp_path / "two.jsonl"], tmp_path / "out")


def test_options_are_read_from_text_and_values():
    many = Option("splits", str, (), "Splits.", many=True)
    assert (many.parse("val"), many.parse(["val", "test"]), many.parse([])) == (("val",), ("val", "test"), ())
    flag = Option("flag", bool, False, "Flag.")
    assert (flag.parse("Yes"), flag.parse("0"), flag.parse(True), flag.parse(None)) == (
        True,
        False,
        True,
        False,
    )
    assert Option("place", Path, None, "Place.").parse("a/b") == Path("a/b")


def test_image_numbers_and_assigned_ids():
    assert image_number("COCO_train2014_000000581857.jpg") == 581857
    assert image_number("1000092795.jpg") == 1000092795
    assert image_number("dog.png") is None
    ids = IdAssigner("a.b")
    with_number, with_file = ImageRef("9.jpg", 5, 5, 9), ImageRef("dog.png", 5, 5)
    first = ids.assign(with_number, [(0, 0, 1, 1)], "caf\u00e9")
    assert ids.assign(with_number, [(-0.001, 0, 1.0004, 1)], "cafe\u0301") == first + "-2"
    assert ids.assign(with_number, [(0, 0, 0.5, 1), (0.5, 0, 1, 1)], "caf\u00e9") == first + "-3"
    assert ids.assign(with_file, [(0, 0, 1, 1)], "caf\u00e9") != first
    assert ids.assign(with_number, [], "caf\u00e9") != first


def test_unreadable_json_is_named(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(SourceError, match=r"a\.json\.gz cannot be read"):
        read_json(path, dict)


def test_sources_import_no_heavy_library():
    code = (
        "import sys, refkit.data.sources, refkit.data.sources.join; "
        "sys.exit(int(any(name in sys.modules for name in ('torch', 'mmengine', 'transformers', 'PIL'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
