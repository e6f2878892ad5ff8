"""Pickles are read as data, and whatever asks for more is refused before any of it runs."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from refkit.data import safe_pickle
from refkit.data.safe_pickle import UnsafePickleError, load_plain_pickle, load_split_file, loads_plain

PLAIN = {
    "list": [1, -2, 3.5, 10**30],
    "tuple": ("a", None, True),
    "text": "naïve",
    "bytes": b"\x00\xff",
    "no": (),
}


class Calls:
    """Pickles to a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back_in_every_protocol(protocol):
    read = loads_plain(pickle.dumps(PLAIN, protocol))
    assert read == PLAIN
    assert isinstance(read["bytes"], bytes)


def test_byte_strings_of_python_2_become_text_through_latin1():
    assert loads_plain(b"(dp0\nS'sent'\np1\nS'caf\\xe9'\np2\ns.") == {"sent": "café"}
    assert loads_plain(b"\x80\x02U\x04caf\xe9.") == "café"


@pytest.mark.parametrize("name", ["unicode", "dict", "list", "long", "str", "int", "float", "bool", "tuple"])
def test_python_2_names_of_plain_types_are_known(name):
    empty = loads_plain(f"c__builtin__\n{name}\n(tR.".encode())
    assert not empty
    assert type(empty).__name__ == {"unicode": "str", "long": "int"}.get(name, name)


def marker(folder: Path) -> Path:
    return folder / "the payload has run"


def payloads(folder: Path) -> dict[str, object]:
    command = f"touch '{marker(folder)}'"
    code = f"open({str(marker(folder))!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, command),
        "subprocess.check_output": Calls(subprocess.check_output, ["touch", str(marker(folder))]),
        "builtins.eval": Calls(eval, code),
        "builtins.exec": Calls(exec, code),
        "builtins.getattr": Calls(getattr, os, "system"),
        "builtins.__import__": Calls(builtins.__import__, "os"),
        "builtins.open": Calls(open, str(marker(folder)), "w"),
        "nested": [{"refs": [(1, 2), {"deep": Calls(os.system, command)}]}],
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", list(payloads(Path())))
def test_a_malicious_pickle_is_refused_by_name_and_does_not_run(tmp_path, name, protocol):
    if name == "builtins.getattr":
        data = b"c__builtin__\ngetattr\n(cos\nsystem\nS'x'\ntR."
    else:
        data = pickle.dumps(payloads(tmp_path)[name], protocol)
    path = tmp_path / "refs(unc).p"
    path.write_bytes(data)
    with pytest.raises(UnsafePickleError, match="could run any code") as caught:
        load_plain_pickle(path)
    wanted = {"os.system": "system", "nested": "system"}.get(name, name.rpartition(".")[2])
    assert caught.value.asked_for.endswith(wanted)
    assert str(path) in str(caught.value)
    assert not marker(tmp_path).exists()


def test_the_payload_would_have_run(tmp_path):
    """The same bytes do run when they are opened the usual way: the test above can fail."""
    data = pickle.dumps(payloads(tmp_path)["os.system"], 2)
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({data!r})"], check=True)
    assert marker(tmp_path).exists()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"(ios\nsystem\n.", "INST of os"),
        (b"\x80\x02cbuiltins\ndict\n)\x81.", "NEWOBJ"),
        (b"\x80\x02cbuiltins\ndict\n)R}b.", "BUILD"),
        (b"Pan id\n.", "PERSID"),
        (b"\x80\x02K\x01Q.", "BINPERSID"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x02cbuiltins\nbytes\nJ\x00\x00\x00\x7f\x85R.", "not plain data"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00rot\x86R.", "latin1 text only"),
        (b"\x80\x02K\x01r" + struct.pack("<I", 2**31) + b".", "memo number"),
        (b"I1\np999999999999\n.", "memo number"),
        (pickle.dumps([1, 2]) + b"more", "bytes follow"),
        (pickle.dumps(list(range(1000)))[:-20], "not a sound pickle"),
        (b"", "not a sound pickle"),
        (b"PK not a pickle", "not a sound pickle"),
        (b"\x80\x02h\x05.", "not a sound pickle"),
        (b"\x80\x02B\xff\xff\xff\x7f.", "not a sound pickle"),
    ],
)
def test_what_is_not_plain_and_sound_is_refused(data, word):
    with pytest.raises(UnsafePickleError, match=word):
        loads_plain(data, "some.p")


def test_a_type_inside_a_pickle_cannot_be_changed_or_misused():
    plain = safe_pickle._Plain(list)
    with pytest.raises(pickle.UnpicklingError):
        plain._kind = dict
    with pytest.raises(pickle.UnpicklingError, match="not plain data"):
        plain("abc")
    assert plain([1]) == [1]


def test_subclasses_of_plain_types_are_refused():
    with pytest.raises(UnsafePickleError, match=r"collections\.OrderedDict"):
        loads_plain(pickle.dumps(collections.OrderedDict(a=1)))


def test_too_large_a_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "large.p"
    path.write_bytes(pickle.dumps(list(range(100))))
    monkeypatch.setattr(safe_pickle, "MAX_BYTES", 50)
    for read in (load_plain_pickle, load_split_file):
        with pytest.raises(UnsafePickleError, match="more than an annotation file"):
            read(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_torch_split_files_are_read_in_both_layouts(tmp_path, legacy):
    import numpy as np
    import torch

    entries = [
        ("a.jpg", {"height": 10, "width": 20}, [1.0, 2.0, 3.0, 4.0], "a dog", [[1, 2, 3, 4, 5, 6]]),
        ("b.jpg", "b.pth", np.array([1, 2, 3, 4]), "a cat", ["cat"]),
        ("c.jpg", np.array([1.5, 2, 3, 4], np.float32), "a cow"),
    ]
    path = tmp_path / "split.pth"
    torch.save(entries, path, _use_new_zipfile_serialization=not legacy)
    read = load_split_file(path)
    assert read[0] == entries[0]
    assert list(read[1][2]) == [1, 2, 3, 4]
    assert list(read[2][1]) == [1.5, 2, 3, 4]


def test_a_bare_pickle_named_pth_is_read(tmp_path):
    path = tmp_path / "split.pth"
    path.write_bytes(pickle.dumps([("a.jpg", [1, 2, 3, 4], "dog")], 2))
    assert load_split_file(path) == [("a.jpg", [1, 2, 3, 4], "dog")]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "nested"])
def test_malicious_torch_files_are_refused_and_do_not_run(tmp_path, name, legacy):
    import torch

    path = tmp_path / "split.pth"
    torch.save([("a.jpg", payloads(tmp_path)[name])], path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UnsafePickleError, match="could run any code") as caught:
        load_split_file(path)
    assert caught.value.asked_for.rpartition(".")[2] in ("system", "eval")
    assert not marker(tmp_path).exists()


def test_a_pickle_slipped_into_a_torch_archive_is_refused(tmp_path):
    """torch's own rebuild functions are admitted only for tensors, not as a way to call something else."""
    import torch

    path = tmp_path / "split.pth"
    torch.save([torch.zeros(2)], path)
    evil = tmp_path / "evil.pth"
    trick = b"\x80\x02ctorch._utils\n_rebuild_wrapper_subclass\ncos\nsystem\nX\x01\x00\x00\x00x\x86R."
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(evil, "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, trick if item.filename.endswith("data.pkl") else old.read(item))
    with pytest.raises(UnsafePickleError):
        load_split_file(evil)
    assert not marker(tmp_path).exists()


def test_a_damaged_torch_file_is_named(tmp_path):
    import torch

    path = tmp_path / "split.pth"
    torch.save([1, 2, 3], path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UnsafePickleError, match=r"split\.pth"):
        load_split_file(path)


def test_reading_pickles_does_not_import_torch(tmp_path):
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([{"a": 1}], 0))
    code = (
        "import sys; from refkit.data.safe_pickle import load_split_file; import refkit.data.sources; "
        f"assert load_split_file({str(path)!r}) == [{{'a': 1}}]; "
        "sys.exit(int(any(name in sys.modules for name in ('torch', 'mmengine', 'transformers'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
