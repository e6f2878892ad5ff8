import gzip
import multiprocessing
import os
import pickle

import numpy as np
import pytest

from refkit.data import record_file as record_file_module
from refkit.data.record_file import image_key
from refkit.data.records import ImageRef, RecordError, RecordFile, iter_records, write_records


@pytest.fixture(params=["made.jsonl", "made.jsonl.gz"])
def any_file(request, tmp_path, made_header, make_record):
    path = tmp_path / "set" / request.param
    write_records(path, made_header(), (make_record(number) for number in range(23)))
    return path


def count_scans(monkeypatch):
    """How often a whole file is gone through."""
    scans = []
    original = record_file_module.RecordScan

    def counting(path):
        scans.append(path)
        return original(path)

    monkeypatch.setattr(record_file_module, "RecordScan", counting)
    return scans


def test_random_access_equals_reading_through(any_file):
    expected = list(iter_records(any_file))
    records = RecordFile(any_file)
    assert len(records) == 23
    assert list(records) == expected
    assert [records[position] for position in (22, 0, 7, -1, -23)] == [
        expected[position] for position in (22, 0, 7, -1, -23)
    ]
    assert records[3:20:4] == expected[3:20:4]
    for position in (23, -24):
        with pytest.raises(IndexError, match="has 23 records"):
            records[position]


def test_the_second_opening_reads_the_index_only(any_file, monkeypatch):
    first = RecordFile(any_file)
    scans = count_scans(monkeypatch)
    second = RecordFile(any_file)
    assert scans == []
    assert second.header == first.header and list(second) == list(first)
    assert (second.header.records, second.header.images) == (23, 6)


def test_the_index_lies_beside_a_plain_file_and_is_small(tmp_path, made_header, make_record):
    sizes = {}
    for count in (1_000, 2_000):
        path = tmp_path / f"{count}.jsonl"
        write_records(path, made_header(), (make_record(number) for number in range(count)))
        RecordFile(path)
        sizes[count] = path.with_name(f"{count}.jsonl.idx").stat().st_size
    assert sizes[2_000] - sizes[1_000] == 16 * 1_000, "16 bytes per record"
    assert sizes[1_000] < 16 * 1_000 + 512


def test_a_file_without_counts_has_them_after_every_opening(tmp_path, records_file):
    lines = records_file.read_text().splitlines()
    lines[0] = '{"format": "refkit.records/1", "dataset": "made", "split_by": "test", "split": "val"}'
    bare = tmp_path / "bare.jsonl"
    bare.write_text("\n".join(lines))
    expected = RecordFile(records_file).header
    for _ in range(2):
        found = RecordFile(bare).header
        assert (found.records, found.images) == (10, 3)
        assert (found.digest, found.digest_masks) == (expected.digest, expected.digest_masks)


@pytest.mark.parametrize("change", ["content", "time", "version", "damage", "other array"])
def test_the_index_is_made_again_when_it_does_not_fit(
    tmp_path, records_file, made_header, make_record, monkeypatch, change
):
    RecordFile(records_file)
    index = records_file.with_name("made.jsonl.idx")
    if change == "content":
        write_records(records_file, made_header(), (make_record(number) for number in range(4)))
    elif change == "time":
        os.utime(records_file, ns=(1, 1))
    elif change == "version":
        array = np.load(index)
        array[0, 0] += 1
        with index.open("wb") as file:
            np.save(file, array)
    elif change == "damage":
        index.write_bytes(index.read_bytes()[:100])
    else:
        with index.open("wb") as file:
            np.save(file, np.zeros((3, 2), np.float32))
    scans = count_scans(monkeypatch)
    records = RecordFile(records_file)
    assert len(scans) == 1
    assert list(records) == list(iter_records(records_file))
    RecordFile(records_file)
    assert len(scans) == 1


def test_same_size_and_time_but_other_content_is_noticed(records_file, made_header, make_record):
    """A copy tool may keep the time; the header's digest tells."""
    RecordFile(records_file)
    state = records_file.stat()
    texts = (make_record(number, text=f"the redd dog {number}") for number in range(10))
    write_records(records_file, made_header(), texts)
    os.utime(records_file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert records_file.stat().st_size == state.st_size
    assert RecordFile(records_file)[0].text == "the redd dog 0"


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(records_file, tmp_path, monkeypatch):
    original = record_file_module.atomic_open

    def refuse(path, *options):
        if path.parent == records_file.parent:
            raise PermissionError("read-only file system")
        return original(path, *options)

    monkeypatch.setattr(record_file_module, "atomic_open", refuse)
    RecordFile(records_file)
    assert not records_file.with_name("made.jsonl.idx").exists()
    assert len(list((tmp_path / "cache" / "records").glob("*.idx"))) == 1
    scans = count_scans(monkeypatch)
    assert len(RecordFile(records_file)) == 10 and scans == []


def test_without_any_writable_folder_a_plain_file_still_opens(records_file, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("REFKIT_CACHE", str(tmp_path / "occupied"))

    def refuse(path, *options):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(record_file_module, "atomic_open", refuse)
    assert len(RecordFile(records_file)) == 10
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(records_file.read_bytes()))
    with pytest.raises(RecordError, match="set REFKIT_CACHE to a writable folder"):
        RecordFile(packed)


def _texts(records, positions, queue):
    queue.put([records[position].text for position in positions])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_share_a_file(any_file, method):
    records = RecordFile(any_file)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=_texts, args=(records, [5, 1, 22], queue))
    worker.start()
    assert queue.get(timeout=60) == [f"the left dog {number}" for number in (5, 1, 22)]
    worker.join()
    assert worker.exitcode == 0


def test_pickling_carries_the_name_not_the_content(records_file):
    records = RecordFile(records_file)
    data = pickle.dumps(records)
    assert len(data) < 1_000
    assert list(pickle.loads(data)) == list(records)


def test_a_copy_of_a_file_that_changed_is_refused(records_file, made_header, make_record):
    data = pickle.dumps(RecordFile(records_file))
    write_records(records_file, made_header(), [make_record(0)])
    with pytest.raises(RecordError, match="the file changed while the program runs"):
        pickle.loads(data)


def test_a_line_damaged_under_an_open_file_is_an_error(records_file):
    records = RecordFile(records_file)
    content = bytearray(records_file.read_bytes())
    at = content.index(b'"made.4"')
    content[at : at + 8] = b"#" * 8
    with records_file.open("r+b") as file:
        file.write(content)
    with pytest.raises(RecordError, match=r"made\.jsonl:6: not JSON"):
        records[4]
    assert records[3].id == "made.3"


def test_image_keys_tell_pictures_apart_across_files(tmp_path, made_header, make_record):
    def keys(dataset, *images):
        path = tmp_path / f"{dataset}.jsonl"
        records = [make_record(n, image=image, object=None) for n, image in enumerate(images)]
        write_records(path, made_header(dataset=dataset), records)
        return RecordFile(path).image_keys

    named, numbered = ImageRef("a/x.jpg", 64, 48), ImageRef("y.jpg", 64, 48, 7)
    coco = keys("refcocos", named, numbered, ImageRef("train2017/000000000007.jpg", 64, 48, 7))
    assert coco[1] == coco[2] != coco[0]
    assert keys("ovad", numbered)[0] == coco[1], "both number as COCO does"
    assert keys("vg", numbered)[0] != coco[1], "another collection"
    assert keys("mine", ImageRef("b/x.jpg", 64, 48))[0] != coco[0]
    assert coco.dtype == np.int64
    record = make_record(0, image=numbered)
    assert image_key(made_header(dataset="ovad"), record) == coco[1]


def test_handing_pages_back_changes_no_record(any_file, monkeypatch):
    monkeypatch.setattr(record_file_module, "_READS_PER_RELEASE", 3)
    assert list(RecordFile(any_file)) == list(iter_records(any_file))


def test_fifty_thousand_records_open_at_once(tmp_path, made_header, make_record, monkeypatch):
    """The scale test in small: linear index, opening without going through the text."""
    path = tmp_path / "many.jsonl"
    write_records(path, made_header(), (make_record(number) for number in range(50_000)))
    RecordFile(path)
    assert path.with_name("many.jsonl.idx").stat().st_size < 50_000 * 16 + 512
    monkeypatch.delattr(record_file_module, "RecordScan")
    records = RecordFile(path)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 50_000, 300):
        assert records[int(position)].id == f"made.{position}"
