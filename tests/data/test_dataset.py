"""Records become samples; the random numbers of a sample depend on (seed, epoch, index) alone."""

import pickle

import numpy as np
import pytest
from sample_factory import make_record, write_folder
from torch.utils.data import DataLoader

from refkit import rle
from refkit.data.collate import collate
from refkit.data.dataset import MissingMaskError, ReferringDataset, sample_from_record
from refkit.data.images import ImageError
from refkit.data.record_file import RecordFile
from refkit.data.records import Target
from refkit.data.samplers import EpochSampler
from refkit.registry import DATASETS

RANDOM = [
    dict(type="RandomResize", choices=[32, 40, 48]),
    dict(type="ColorJitter"),
    dict(type="Pad", size=48, mode="random"),
]


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, [make_record(number, image=number // 2) for number in range(8)])
    return tmp_path


def build(folder, **options):
    return ReferringDataset("toy.train.jsonl", data_root=folder, **options)


def test_a_sample_is_its_record(folder):
    dataset = build(folder, with_masks=True)
    sample = dataset[3]
    record = dataset.record(3)
    assert len(dataset) == 8
    assert (sample.id, sample.text, sample.categories) == (record.id, record.text, ["dog"])
    assert sample.boxes.tolist() == [list(record.targets[0].box)]
    assert np.array_equal(sample.masks[0], rle.decode(record.targets[0].mask))
    assert sample.image.shape == (48, 64, 3)
    assert sample.frame.original == sample.frame.canvas == (64, 48)
    assert sample.meta["file"] == record.image.file
    assert sample.meta["image_id"] == 1
    assert sample.meta["kind"] == "position"
    assert build(folder)[0].masks is None


def test_built_from_a_config_and_from_open_records(folder):
    config = dict(
        type="ReferringDataset", records=str(folder / "toy.train.jsonl"), image_root=str(folder / "pictures")
    )
    named = DATASETS.build(config)
    opened = ReferringDataset(RecordFile(folder / "toy.train.jsonl"), data_root=folder)
    assert np.array_equal(named[5].image, opened[5].image)
    assert named.metainfo["digest"] == opened.metainfo["digest"] != ""


def test_data_root_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("REFKIT_DATA", str(folder))
    assert ReferringDataset("toy.train.jsonl")[0].id == "toy.0"


def test_records_in_memory_will_do(folder):
    class InMemory(list):
        header = RecordFile(folder / "toy.train.jsonl").header

    records = InMemory(RecordFile(folder / "toy.train.jsonl"))
    dataset = ReferringDataset(records, data_root=folder)
    assert dataset[2].id == "toy.2"
    assert np.array_equal(dataset.image_keys, build(folder).image_keys)


def test_randomness_is_a_function_of_seed_epoch_and_index(folder):
    one, two = build(folder, pipeline=RANDOM, seed=3), build(folder, pipeline=RANDOM, seed=3)
    two[7]
    assert np.array_equal(one[2].image, two[2].image)
    two.set_epoch(1)
    assert not np.array_equal(one[2].image, two[2].image)
    assert not np.array_equal(one[2].image, build(folder, pipeline=RANDOM, seed=4)[2].image)
    assert not np.array_equal(one.draw(2).image, one.draw(2, repetition=1).image)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_see_the_epoch_and_change_nothing(folder, workers):
    dataset = build(folder, pipeline=RANDOM, seed=3)
    sampler = EpochSampler(dataset, seed=5)
    loader = DataLoader(
        dataset, 2, sampler=sampler, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
    )
    for epoch in range(2):
        sampler.set_epoch(epoch)
        expected = build(folder, pipeline=RANDOM, seed=3)
        expected.set_epoch(epoch)
        order = list(sampler)
        batches = list(loader)
        pixels = np.concatenate([batch["inputs"]["images"].numpy() for batch in batches])
        assert [sample.id for batch in batches for sample in batch["data_samples"]] == [
            f"toy.{i}" for i in order
        ]
        for index, image in zip(order, pixels, strict=True):
            assert np.array_equal(image.transpose(1, 2, 0), expected[index].image)


def test_pickled_copies_give_the_same_samples(folder):
    dataset = build(folder, pipeline=RANDOM)
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy[4].image, dataset[4].image)


def test_metainfo_names_the_records(folder):
    info = build(folder, max_records=3).metainfo
    assert info["name"] == "toy.unc.train"
    assert info["count"] == 3
    assert not info["complete"]
    assert build(folder).metainfo["complete"]


def test_subsets(folder):
    assert [sample.id for sample in build(folder, indices=[5, 1])] == ["toy.5", "toy.1"]
    assert [sample.id for sample in build(folder, indices=[5, 1, 2], max_records=2)] == ["toy.5", "toy.1"]
    assert build(folder)[-1].id == "toy.7"
    with pytest.raises(IndexError, match="index 8 is outside a data set of 8"):
        build(folder)[8]
    with pytest.raises(ValueError, match="whole numbers from 0 to 7"):
        build(folder, indices=[8])
    with pytest.raises(ValueError, match="max_records=0"):
        build(folder, max_records=0)
    with pytest.raises(ValueError, match="no record is left"):
        build(folder, indices=[])


def test_records_without_mask(tmp_path):
    records = [make_record(number) for number in range(4)]
    records[1].targets[0].mask = None
    records[3].targets = []
    write_folder(tmp_path, records)
    assert len(build(tmp_path)) == 4
    with pytest.raises(
        MissingMaskError, match=r"1 of 4 records .* the first is 'toy\.1'; set without_mask='exclude'"
    ):
        build(tmp_path, with_masks=True)
    kept = build(tmp_path, with_masks=True, without_mask="exclude")
    assert [sample.id for sample in kept] == ["toy.0", "toy.2", "toy.3"]
    assert kept[2].masks.shape == (0, 48, 64)
    assert kept.skipped == {"without mask": 1}
    assert kept.metainfo["skipped"] == {"without mask": 1}
    assert len(build(tmp_path, with_masks=True, indices=[0, 2])) == 2
    with pytest.raises(ValueError, match="without_mask='ignore'"):
        build(tmp_path, without_mask="ignore")
    with pytest.raises(
        MissingMaskError, match=r"record toy\.1: target 0 has no mask; import the set with masks"
    ):
        sample_from_record(records[1], np.zeros((48, 64, 3), np.uint8), with_masks=True)


def test_an_empty_mask_is_a_mask(tmp_path):
    record = make_record(0)
    record.targets[0].mask = rle.encode(np.zeros((48, 64)))
    write_folder(tmp_path, [record])
    sample = build(tmp_path, with_masks=True)[0]
    assert sample.masks.shape == (1, 48, 64)
    assert not sample.masks.any()


def test_no_target_expressions(tmp_path):
    write_folder(tmp_path, [make_record(0), make_record(1, targets=[])])
    sample = build(tmp_path, pipeline=RANDOM)[1]
    assert sample.boxes.shape == (0, 4)
    kept = build(tmp_path, no_target="skip")
    assert len(kept) == 1
    assert kept.skipped == {"without target": 1}
    write_folder(tmp_path, [make_record(1, targets=[])], split="val")
    with pytest.raises(ValueError, match=r"no record is left \(left out: 1 without target\)"):
        ReferringDataset("toy.val.jsonl", data_root=tmp_path, no_target="skip")


def test_a_target_with_only_a_mask_gets_its_bounds(tmp_path):
    record = make_record(0)
    record.targets[0].box = None
    write_folder(tmp_path, [record])
    assert build(tmp_path, with_masks=True)[0].boxes.tolist() == [[5, 10, 40, 30]]


def test_region_records_have_no_text(tmp_path):
    write_folder(tmp_path, [make_record(0, text=None, references=["a dog"])])
    sample = build(tmp_path)[0]
    assert sample.text == ""
    assert sample.meta["references"] == ["a dog"]


def test_a_box_without_area_is_refused_by_name(tmp_path):
    write_folder(tmp_path, [make_record(0, targets=[Target((5.0, 5.0, 5.001, 20.0))])])
    with pytest.raises(
        ValueError, match=r"toy\.0: the annotation leaves target 0 without area.*refkit data check"
    ):
        build(tmp_path)[0]


def test_pictures_are_checked_against_the_record(tmp_path):
    records = [make_record(0), make_record(1)]
    write_folder(tmp_path, records)
    (tmp_path / "pictures" / records[1].image.file).unlink()
    assert build(tmp_path)[0].id == "toy.0"
    with pytest.raises(ImageError, match=r"record toy\.1: picture"):
        build(tmp_path)[1]


def test_a_picture_shared_by_expressions_cannot_be_changed_under_them(folder):
    dataset = build(folder)
    assert dataset[0].image is dataset[1].image
    with pytest.raises(ValueError, match="read-only"):
        dataset[0].image[0, 0] = 0
    assert not np.array_equal(dataset[1].image, dataset[2].image)


def test_as_many_pictures_are_kept_as_asked(folder):
    first, second = 0, 2  # of two pictures
    for keep, kept in ((1, False), (2, True)):
        dataset = build(folder, keep_images=keep)
        before = dataset[first].image
        assert np.array_equal(dataset[second].image, build(folder)[second].image)
        assert (dataset[first].image is before) is kept
        assert np.array_equal(dataset[first].image, before)


def test_the_picture_used_longest_ago_is_let_go(folder):
    dataset = build(folder, keep_images=2)
    first, second = dataset[0].image, dataset[2].image
    assert dataset[0].image is first
    dataset[4]
    assert dataset[0].image is first
    assert dataset[2].image is not second
    with pytest.raises(ValueError, match="keep_images=0"):
        build(folder, keep_images=0)


def test_a_negative_seed_is_refused(folder):
    with pytest.raises(ValueError, match="seed=-1"):
        build(folder, seed=-1)
