"""Mixtures leave out what is evaluated on, and draw their members evenly."""

import gzip
import json
from collections import Counter

import numpy as np
import pytest
from sample_factory import make_record, write_folder

from refkit.data.dataset import ReferringDataset
from refkit.data.mixture import MixtureDataset
from refkit.data.records import Header, ImageRef, Record
from refkit.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    """Training sets on pictures 0…9 and 6…13 of COCO, an evaluation set on 8…11, and one of another numbering."""
    write_folder(tmp_path, [make_record(i, dataset="refcoco") for i in range(10)], "refcoco")
    write_folder(tmp_path, [make_record(i, dataset="refcocog") for i in range(6, 14)], "refcocog")
    write_folder(
        tmp_path, [make_record(i, dataset="refcocoplus") for i in range(8, 12)], "refcocoplus", "val"
    )
    write_folder(tmp_path, [make_record(i, dataset="flickr30k") for i in range(8, 12)], "flickr30k", "val")
    return tmp_path


def members(folder, **options):
    return [
        dict(type="ReferringDataset", records=f"{name}.train.jsonl", data_root=str(folder), **options)
        for name in ("refcoco", "refcocog")
    ]


def build(folder, **options):
    return MixtureDataset(members(folder), data_root=folder, **options)


def ids(dataset):
    return [sample.id for sample in dataset]


def test_evaluated_pictures_are_removed_by_default(folder, capsys):
    mixture = build(folder, evaluates_on=["refcocoplus.val.jsonl"])
    expected = [f"refcoco.{i}" for i in range(8)] + [f"refcocog.{i}" for i in (6, 7, 12, 13)]
    assert ids(mixture) == expected
    assert mixture.removed == [
        {"name": "refcoco.unc.train", "images": 2, "samples": 2},
        {"name": "refcocog.unc.train", "images": 4, "samples": 4},
    ]
    assert mixture.metainfo["removed"] == mixture.removed


def test_lists_of_image_numbers_will_do(folder):
    (folder / "lists.json").write_text(json.dumps({"refcoco.unc.val": [8, 9], "refcocog.umd.val": [10, 11]}))
    mixture = build(folder, evaluates_on=["lists.json:refcoco.unc.val+refcocog.umd.val"])
    assert [entry["images"] for entry in mixture.removed] == [2, 4]


@pytest.mark.shared
def test_the_known_leak_of_the_refcoco_family_is_removed(shared, tmp_path):
    """1,891 pictures of RefCOCO train and 1,860 of RefCOCOg train are evaluation pictures of the other."""

    class Listed(list):
        """One record per training picture of a list."""

        def __init__(self, name, numbers):
            dataset, division, split = name.split(".")
            self.header = Header(dataset, division, split)
            super().__init__(Record(f"{name}.{n}", ImageRef(f"{n}.jpg", 64, 48, n)) for n in numbers)

    with gzip.open(shared / "data" / "refcoco_family_train_images.json.gz") as file:
        training = json.load(file)
    lists = {}
    for stem, name in (("refcoco_val", "refcoco.unc.val"), ("refcocog_val", "refcocog.umd.val")):
        for path in (shared / "data" / "refcoco_full_eval").glob(f"{stem.split('_')[0]}_*.jsonl.gz"):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                lists.setdefault(name, set()).update(json.loads(line)["image_id"] for line in file)
    (tmp_path / "lists.json").write_text(
        json.dumps({name: sorted(numbers) for name, numbers in lists.items()})
    )
    names = ("refcoco.unc.train", "refcocog.umd.train")
    mixture = MixtureDataset(
        [ReferringDataset(Listed(name, training[name])) for name in names],
        evaluates_on=["lists.json:refcoco.unc.val+refcocog.umd.val"],
        data_root=tmp_path,
    )
    assert [entry["images"] for entry in mixture.removed] == [1891, 1860]
    assert len(mixture) == 16_994 - 1891 + 21_899 - 1860


def test_equal_numbers_of_another_collection_do_not_count(folder):
    assert len(build(folder, evaluates_on=["flickr30k.val.jsonl"])) == 18


def test_the_published_habit_is_a_switch(folder):
    mixture = build(folder, exclude_evaluated=False)
    assert len(mixture) == 18
    assert mixture.removed == []


def test_silence_about_evaluation_is_refused(folder):
    with pytest.raises(
        ValueError, match=r"evaluates_on \(\[\] if there are none\), or set exclude_evaluated=False"
    ):
        build(folder)
    assert len(build(folder, evaluates_on=[])) == 18


def test_fractions_walk_through_the_member(folder):
    mixture = build(folder, weights=[0.5, 2.25], exclude_evaluated=False)
    assert len(mixture) == 5 + 18
    seen = Counter()
    for epoch in range(4):
        mixture.set_epoch(epoch)
        places = [mixture.place(index) for index in range(len(mixture))]
        first = [position for member, position, _ in places if member == 0]
        assert len(set(first)) == 5
        assert Counter(round_ for member, _, round_ in places if member == 1) == {0: 8, 1: 8, 2: 2}
        seen.update((member, position) for member, position, _ in places)
    assert set(Counter({key: n for key, n in seen.items() if key[0] == 0}).values()) == {2}
    assert set(Counter({key: n for key, n in seen.items() if key[0] == 1}).values()) == {9}


def test_epochs_reach_members_and_repetitions_differ(folder):
    jitter = [dict(type="ColorJitter", p=1.0)]
    mixture = DATASETS.build(
        dict(type="MixtureDataset", members=members(folder, pipeline=jitter), weights=[2, 0], evaluates_on=[])
    )
    assert mixture[0].id == mixture[10].id
    assert not np.array_equal(mixture[0].image, mixture[10].image)
    before = mixture[0].image
    mixture.set_epoch(1)
    assert [member.epoch for member in mixture.members] == [1, 1]
    assert not np.array_equal(mixture[0].image, before)
    assert np.array_equal(mixture.load(0).image, mixture.members[0].load(0).image)


def test_wrong_mixtures_are_refused(folder):
    with pytest.raises(ValueError, match="members is empty"):
        MixtureDataset([])
    with pytest.raises(ValueError, match="expected 2 numbers from 0 on"):
        build(folder, weights=[1.0], exclude_evaluated=False)
    with pytest.raises(ValueError, match="expected 2 numbers from 0 on"):
        build(folder, weights=[1.0, -1.0], exclude_evaluated=False)
    with pytest.raises(ValueError, match="no sample is left"):
        build(folder, weights=[0, 0], exclude_evaluated=False)
    with pytest.raises(ValueError, match="cannot be a member of a mixture"):
        MixtureDataset([build(folder, exclude_evaluated=False)], exclude_evaluated=False)


def test_a_member_of_evaluated_pictures_only_gives_nothing(folder):
    evaluated = ReferringDataset("refcocoplus.val.jsonl", data_root=folder)
    other = ReferringDataset("refcoco.train.jsonl", data_root=folder)
    mixture = MixtureDataset([evaluated, other], evaluates_on=["refcocoplus.val.jsonl"], data_root=folder)
    assert ids(mixture) == [f"refcoco.{i}" for i in range(8)]
