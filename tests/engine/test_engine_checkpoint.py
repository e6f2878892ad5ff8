"""Checkpoint files: safe content, whole or absent, damage noticed."""

from __future__ import annotations

import hashlib
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from refkit.engine import randomness
from refkit.engine.checkpoint import (
    CheckpointError,
    checkpoint_path,
    find_damage,
    find_resumable,
    list_checkpoints,
    make_safe,
    read_checkpoint,
    remove_checkpoint,
    remove_leftovers,
    write_checkpoint,
)

CONTENT = {"state_dict": {"weight": torch.arange(6.0)}, "meta": {"seed": 3}}


def globals_of(path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    return {str(argument) for code, argument, _ in pickletools.genops(data) if code.name == "GLOBAL"}


def test_training_checkpoint_has_no_unsafe_global(reference):
    allowed = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict"}
    found = {name for name in globals_of(reference / "iter_18.pth") if not name.endswith("Storage")}
    assert found <= allowed
    assert torch.load(reference / "iter_18.pth")["loop"]["iteration"] == 18


def test_histories_and_numpy_values_come_back(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        "message_hub": {"log_scalars": {"train/loss": history}, "runtime_info": {}, "resumed_keys": {}},
        "value": np.float32(0.5),
        "array": np.arange(3),
        "flags": {np.int64(3): (True, None, "x")},
    }
    write_checkpoint(content, tmp_path / "iter_1.pth")
    back = read_checkpoint(tmp_path / "iter_1.pth")
    assert back["message_hub"]["log_scalars"]["train/loss"].data[0].tolist() == [1.0, 2.0]
    assert back["value"] == 0.5 and back["array"].tolist() == [0, 1, 2]
    assert back["flags"] == {3: (True, None, "x")}


def test_unsafe_content_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot hold a builtins\.function"):
        write_checkpoint({"meta": {"function": make_safe}}, tmp_path / "iter_1.pth")
    assert list(tmp_path.iterdir()) == []


def test_checksum_is_that_of_the_file(tmp_path):
    path = checkpoint_path(tmp_path, 7)
    write_checkpoint(CONTENT, path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "iter_7.pth.sha256").read_text() == f"{expected}  iter_7.pth\n"
    assert find_damage(path) is None


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def _flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path):
    path.write_bytes(b"")


def _lose_checksum(path):
    path.with_name(path.name + ".sha256").unlink()


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, _empty, _lose_checksum])
def test_damaged_newest_is_reported_and_the_one_before_is_used(tmp_path, damage):
    for iteration in (9, 10):
        write_checkpoint(CONTENT, checkpoint_path(tmp_path, iteration))
    damage(checkpoint_path(tmp_path, 10))
    messages: list[str] = []
    assert find_resumable(tmp_path, messages.append) == checkpoint_path(tmp_path, 9)
    assert len(messages) == 1 and "iter_10.pth" in messages[0]
    damage(checkpoint_path(tmp_path, 9))
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints is intact"):
        find_resumable(tmp_path, messages.append)


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, _empty])
def test_damaged_file_is_not_read(tmp_path, damage):
    path = checkpoint_path(tmp_path, 1)
    write_checkpoint(CONTENT, path)
    damage(path)
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        read_checkpoint(path)


def test_foreign_pickle_is_not_executed(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "foreign.pth"
    torch.save({"state_dict": Malicious()}, path)
    with pytest.raises(CheckpointError, match="cannot be loaded safely"):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "absent.pth")
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(path)


def test_order_leftovers_and_removal(tmp_path):
    for iteration in (100, 20, 3):
        write_checkpoint(CONTENT, checkpoint_path(tmp_path, iteration))
    (tmp_path / "iter_x.pth").touch()
    (tmp_path / ".iter_200.pth.abc.tmp").touch()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iter_3.pth", "iter_20.pth", "iter_100.pth"]
    remove_leftovers(tmp_path)
    remove_checkpoint(checkpoint_path(tmp_path, 3))
    assert {path.name for path in tmp_path.iterdir()} == {
        "iter_x.pth", "iter_20.pth", "iter_20.pth.sha256", "iter_100.pth", "iter_100.pth.sha256",
    }  # fmt: skip
    assert find_resumable(tmp_path / "empty", print) is None


def test_generators_are_restored_and_shielded(tmp_path):
    import random

    def draw():
        return (
            random.random(),
            random.gauss(0, 1),
            np.random.rand(),  # noqa: NPY002  (the global generator is what is saved)
            np.random.randn(),  # noqa: NPY002
            torch.rand(2).tolist(),
        )

    randomness.seed_all(5)
    draw()
    write_checkpoint({"random_state": randomness.capture()}, tmp_path / "iter_1.pth")
    first = draw()
    with randomness.shielded():
        draw()
    second = draw()
    randomness.restore(read_checkpoint(tmp_path / "iter_1.pth")["random_state"])
    assert draw() == first and draw() == second
