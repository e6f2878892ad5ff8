import pytest

from refkit.data.records import Header, ImageRef, Target, write_records
from refkit.data.stats import stats_of, stats_of_file

# Evaluation spec 1.1, "Facts about the evaluation splits": surplus copies, texts that name two boxes, words 1-5.
FACTS = {
    "refcoco_val": (566, 8, 85),
    "refcoco_testA": (308, 2, 86),
    "refcoco_testB": (301, 28, 86),
    "refcocoplus_val": (662, 9, 84),
    "refcocoplus_testA": (453, 4, 86),
    "refcocoplus_testB": (225, 16, 83),
    "refcocog_val": (7, 0, 23),
    "refcocog_test": (25, 0, 24),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", FACTS)
def test_reproduces_the_published_facts(evaluation_files, name):
    stats = stats_of_file(evaluation_files[name])
    assert (stats.repeated_texts, stats.ambiguous_texts) == FACTS[name][:2]
    assert round(100 * stats.word_shares["1-5"]) == pytest.approx(FACTS[name][2], abs=1)
    assert sum(stats.word_shares.values()) == pytest.approx(1)
    assert len(stats.known) == 3 and stats.ok


@pytest.mark.shared
def test_object_sizes_of_refcoco_val(evaluation_files):
    shares = stats_of_file(evaluation_files["refcoco_val"]).size_shares
    assert [round(100 * share) for share in shares.values()] == [4, 67, 29]


def test_figures_of_a_small_file(make_record, made_header):
    def target(*box):
        return Target(tuple(map(float, box)), category="dog")

    image, other = ImageRef("a.jpg", 100, 100), ImageRef("b.jpg", 200, 100)
    records = [
        make_record(0, image=image, text="dog", targets=[target(0, 0, 10, 10)], object="o1"),
        make_record(1, image=image, text="dog", targets=[target(0, 0, 10, 10)], object="o1"),
        make_record(2, image=image, text="dog", targets=[target(50, 50, 90, 90)], object="o2"),
        make_record(3, image=other, text="one two three four five six", targets=[], object=None),
        make_record(
            4, image=other, text="both", targets=[target(0, 0, 20, 100), target(0, 0, 200, 100)], object=None
        ),
    ]
    stats = stats_of(made_header(), records)
    assert (stats.expressions, stats.objects, stats.images) == (5, 4, 2)
    assert (stats.no_target, stats.several_targets, stats.masks) == (1, 1, 0)
    assert (stats.repeated_texts, stats.ambiguous_texts) == (1, 3)
    assert stats.words == {"min": 1, "mean": 2.0, "median": 1.0, "max": 6}
    assert stats.word_shares == {"1-5": 0.8, "6-7": 0.2, "8-10": 0.0, "11+": 0.0}
    assert stats.size_shares == {"below 128": 0.8, "128-256": 0.2, "above 256": 0.0}
    assert stats.relative_area == pytest.approx((0.01 + 0.01 + 0.16 + 0.1 + 1.0) / 5)
    assert stats.image_sizes == ("100 x 100", "200 x 100")
    assert stats.categories == {"dog": 5} and stats.known == [] and stats.ok
    assert stats.to_json()["ok"] is True


def test_contradicted_counts_are_named(tmp_path, make_record):
    path = tmp_path / "a.jsonl"
    write_records(path, Header("refcoco", "unc", "testA"), [make_record(0), make_record(1)])
    stats = stats_of_file(path)
    assert [(count.what, count.published, count.found, count.ok) for count in stats.known] == [
        ("expressions", 5657, 2, False),
        ("objects", 1975, 1, False),
        ("images", 750, 1, False),
    ]
    assert not stats.ok


def test_a_file_without_texts_or_records(made_header, make_record):
    assert stats_of(made_header(), [make_record(0, text=None, targets=[])]).words == {}
    empty = stats_of(made_header(), [])
    assert (empty.expressions, empty.image_sizes, empty.size_shares) == (0, (), {})
