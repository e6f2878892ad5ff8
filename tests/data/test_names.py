import pytest

from refkit.data.names import KNOWN_COUNTS, canonical, image_owner, known_names, recognise, suggest


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("refcoco.unc.val", "refcoco.unc.val"),
        ("unc_val", "refcoco.unc.val"),
        ("unc_testA", "refcoco.unc.testA"),
        ("RefCOCO unc testa", "refcoco.unc.testA"),
        ("refcoco_unc/testB", "refcoco.unc.testB"),
        ("unc+_testB", "refcocoplus.unc.testB"),
        ("refcoco+.unc.train", "refcocoplus.unc.train"),
        ("RefCOCO+ val", "refcocoplus.unc.val"),
        ("refcocop-val", "refcocoplus.unc.val"),
        ("gref_val", "refcocog.google.val"),
        ("gref_umd_test", "refcocog.umd.test"),
        ("RefCOCOg-umd validation", "refcocog.umd.val"),
        ("refcocog(google) train", "refcocog.google.train"),
        ("grefcoco_testA", "grefcoco.unc.testA"),
        ("referit_test", "referit.berkeley.test"),
        ("refclef.unc.testC", "referit.unc.testC"),
        ("flickr_train", "flickr30k.entities.train"),
        ("Flickr30k Entities test", "flickr30k.entities.test"),
        ("visual genome 1.2 test", "vg.1_2.test"),
        ("ovad test", "ovad.box.test"),
    ],
)
def test_one_name_for_many_spellings(spelling, name):
    assert canonical(spelling) == name
    assert recognise(spelling) == name


@pytest.mark.parametrize("name", known_names())
def test_a_canonical_name_is_its_own(name):
    assert canonical(name) == name


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        (
            "refcoco val",
            r"leaves open which division is meant; write refcoco\.unc\.val or refcoco\.google\.val",
        ),
        ("RefCOCOg val", r"write refcocog\.umd\.val or refcocog\.google\.val"),
        ("vg test", r"write vg\.1_2\.test or vg\.1_0\.test"),
        ("unc_test", r"refcoco\.unc has no such split; it has train, val, testA, testB"),
        ("refcco.unc.val", r"did you mean refcoco\.unc\.val or"),
        ("qwertyuiop", r"unknown set 'qwertyuiop'; known are refcoco\.unc\.train"),
    ],
)
def test_what_is_open_or_unknown_is_refused(spelling, message):
    with pytest.raises(ValueError, match=message):
        canonical(spelling)
    assert recognise(spelling) is None


def test_a_split_that_only_one_division_has_is_not_open():
    assert canonical("refcoco testA") == "refcoco.unc.testA"
    assert canonical("refcoco test") == "refcoco.google.test"


def test_published_counts_add_up():
    expressions = {name: counts.expressions for name, counts in KNOWN_COUNTS.items()}
    sums = {"refcoco.unc": 142_210, "refcocoplus.unc": 141_564, "refcocog.umd": 95_010}
    for division, total in sums.items():
        assert sum(count for name, count in expressions.items() if name.startswith(division)) == total
    assert set(KNOWN_COUNTS) <= set(known_names())


def test_numberings_and_suggestions():
    assert image_owner("refcocog") == image_owner("refcoco") == "coco" != image_owner("flickr30k")
    assert image_owner("mine") == "mine"
    assert suggest("refcocoplus.unc.vall")[0] == "refcocoplus.unc.val"
