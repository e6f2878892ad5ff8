import gzip
import os
import stat

import pytest

from refkit.data.files import (
    atomic_open,
    atomic_path,
    atomic_write,
    cache_dir,
    data_root,
    image_folder,
    is_gzip,
)


def test_text_bytes_and_gzip(tmp_path):
    atomic_write(tmp_path / "new" / "a.txt", "Größe\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "Größe\n".encode()
    atomic_write(tmp_path / "b.bin", b"\x00\x01")
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\x01" and not is_gzip(tmp_path / "b.bin")
    path = atomic_write(tmp_path / "c.txt.gz", "hello")
    assert gzip.decompress(path.read_bytes()) == b"hello" and is_gzip(path)
    first = path.read_bytes()
    assert atomic_write(tmp_path / "other.gz", "hello").read_bytes() == first, "neither name nor time inside"


def test_a_failure_leaves_the_old_file_and_no_remains(tmp_path):
    path = atomic_write(tmp_path / "a.txt", "old")
    with pytest.raises(KeyboardInterrupt), atomic_open(path) as file:
        file.write(b"half of the n")
        assert path.read_text() == "old"
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_are_the_usual_ones_or_those_of_the_old_file(tmp_path):
    mask = os.umask(0o022)
    try:
        path = atomic_write(tmp_path / "a.txt", "x")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        path.chmod(0o600)
        atomic_write(path, "y")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(mask)


def test_folders_come_from_option_then_environment_then_default(tmp_path, monkeypatch):
    monkeypatch.setenv("REFKIT_DATA", "/there")
    assert [str(data_root(option)) for option in (None, "here")] == ["/there", "here"]
    assert str(image_folder("coco/train2014")) == "/there/coco/train2014"
    assert (
        str(image_folder("coco", root="r")) == "r/coco"
        and str(image_folder("coco", "pictures")) == "pictures"
    )
    monkeypatch.delenv("REFKIT_DATA")
    assert str(data_root()) == "data"
    monkeypatch.delenv("REFKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir("a", "b") == tmp_path / "refkit" / "a" / "b" and cache_dir("a", "b").is_dir()


def test_a_library_may_write_by_name(tmp_path):
    """Such a library may replace the temporary file by one with other permissions."""
    target = tmp_path / "folder" / "weights.bin"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent and not target.exists()
        temporary.unlink()
        temporary.touch(mode=0o600)
        temporary.write_bytes(b"all of it")
    other = tmp_path / "folder" / "plain"
    other.write_bytes(b"")
    assert target.read_bytes() == b"all of it"
    assert target.stat().st_mode == other.stat().st_mode
    with pytest.raises(RuntimeError, match="stop"), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("stop")
    assert target.read_bytes() == b"all of it"
    assert sorted(path.name for path in target.parent.iterdir()) == ["plain", "weights.bin"]
