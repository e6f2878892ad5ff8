"""Read pickled annotations without running what they say.

A pickle is a small program: it may import any function and call it. The annotation files of this field
(``refs(*).p``, ``.pth`` split lists) need none of that; they hold dicts, lists, tuples, text and numbers.
Here a file is first scanned as data (`pickletools`), then read by an unpickler that knows nothing else.
PyTorch archives go through ``torch.load(weights_only=True)``, imported only when such a file is met.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

MAX_BYTES = 2 << 30
"""Larger files are refused: the largest published annotation pickle has about 0.4 GB."""

# Opcodes that make objects of named classes, change objects, or ask the reader for more than data.
_FORBIDDEN = {
    "INST": "it builds an object of a named class",
    "OBJ": "it builds an object of a named class",
    "NEWOBJ": "it builds an object of a named class",
    "NEWOBJ_EX": "it builds an object of a named class",
    "BUILD": "it sets the state of an object",
    "EXT1": "it asks for a registered extension",
    "EXT2": "it asks for a registered extension",
    "EXT4": "it asks for a registered extension",
    "PERSID": "it asks for an object outside the file",
    "BINPERSID": "it asks for an object outside the file",
    "NEXT_BUFFER": "it asks for a buffer outside the file",
    "READONLY_BUFFER": "it asks for a buffer outside the file",
}
_BAR: dict[str, Any] = {"delay": 2, "leave": False, "disable": None}
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
_BY_CODE = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_PLAIN_TYPES: dict[str, type] = {
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "str": str,
    "unicode": str,
    "bytes": bytes,
    "int": int,
    "long": int,
    "float": float,
    "bool": bool,
}
_TORCH_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_REMEDY = "Do not open this file with pickle.load or torch.load; fetch it again from a source you trust."


class UnsafePickleError(ValueError):
    """A pickle that asks for more than plain data, or that is not a sound pickle at all.

    Attributes:
        path: the file.
        asked_for: the global it named, as in ``os.system``; empty where none was named.
    """

    def __init__(self, path: Path | str, reason: str, asked_for: str = "") -> None:
        self.path, self.asked_for = str(path), asked_for
        super().__init__(f"{path}: {reason} {_REMEDY}")


class _Plain:
    """Stands for a plain type inside a pickle: gives back data of that type, or its empty value, and no more.

    The real types would do more than a file of annotations needs: ``bytes(10**12)`` alone fills a machine.
    """

    __slots__ = ("_kind",)
    _kind: type

    def __init__(self, kind: type) -> None:
        object.__setattr__(self, "_kind", kind)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("a pickle may not change a type")

    def __call__(self, *arguments: Any) -> Any:
        if not arguments:
            return self._kind()
        if len(arguments) == 1 and type(arguments[0]) is self._kind:
            return arguments[0]
        raise pickle.UnpicklingError(
            f"{self._kind.__name__} is called with arguments that are not plain data"
        )


def _latin1_bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """How Python 3 spells bytes in protocols 0 to 2: ``_codecs.encode(text, 'latin1')``."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("_codecs.encode is admitted for latin1 text only")
    return text.encode("latin1")


def _why_refused(module: str, name: str) -> str:
    return (
        f"the pickle asks for the global {module}.{name}, which annotations never need: opening such a "
        "file normally would import it and could run any code. Only dict, list, tuple, str, bytes, int, "
        "float, bool and None are read."
    )


class _PlainUnpickler(pickle.Unpickler):
    """`pickle.Unpickler` that resolves the names of plain types and no other."""

    def __init__(self, file: io.BytesIO, path: Path | str) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if module in ("builtins", "__builtin__") and name in _PLAIN_TYPES:
            return _Plain(_PLAIN_TYPES[name])
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        raise UnsafePickleError(self._path, _why_refused(module, name), f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError(self._path, "the pickle refers to an object outside the file.")


def _opcodes(data: bytes) -> Iterator[tuple[str, Any, int]]:
    """Name, argument and position of each opcode up to STOP, as `pickletools.genops` yields them.

    That function refuses the non-ASCII byte strings which Python 2 wrote in protocol 0.
    """
    file = io.BytesIO(data)
    name = ""
    while name != "STOP":
        position = file.tell()
        opcode = _BY_CODE.get(file.read(1))
        if opcode is None:
            raise ValueError(f"unknown or missing opcode at byte {position}")
        name = opcode.name
        if opcode.arg is None:
            argument = None
        else:
            argument = file.readline() if name == "STRING" else opcode.arg.reader(file)
        yield name, argument, position


def _scan(data: bytes, path: Path | str) -> None:
    """Walk through the opcodes without executing them.

    Refuses opcodes that build or change objects, globals that are not plain types (so that the first one in
    the file is named, before anything is read), and memo numbers out of proportion, for which the C unpickler
    would reserve memory without bound.
    """
    end = 0
    bar = tqdm(total=len(data), desc=f"checking {Path(path).name}", unit="B", unit_scale=True, **_BAR)
    for count, (name, argument, position) in enumerate(_opcodes(data)):
        if count % 100_000 == 0:
            bar.update(position - bar.n)
        if name in _FORBIDDEN:
            asked = str(argument).replace(" ", ".") if name == "INST" else ""
            reason = (
                f"the pickle uses {name}{asked and ' of '}{asked} at byte {position}: {_FORBIDDEN[name]}."
            )
            raise UnsafePickleError(path, reason, asked)
        if name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            _PlainUnpickler(io.BytesIO(), path).find_class(module, attribute)
        elif name in _MEMO and not 0 <= int(argument) <= count + 1:
            reason = f"memo number {argument} at byte {position} is out of proportion: damaged, or a trap."
            raise UnsafePickleError(path, reason)
        end = position + 1
    bar.close()
    if end != len(data):
        raise UnsafePickleError(path, f"{len(data) - end} bytes follow the end of the pickle.")


def loads_plain(data: bytes, path: Path | str = "<bytes>") -> Any:
    """Read a pickle that holds plain data: dict, list, tuple, str, bytes, int, float, bool, None.

    Byte strings of Python 2 become text through latin1, as all readers of these files do.

    Args:
        data: the pickle, protocol 0 to 5.
        path: where it came from, for messages.

    Returns:
        The data.

    Raises:
        UnsafePickleError: it names anything else, or is damaged. Nothing of it has run.
    """
    try:
        _scan(data, path)
        return _PlainUnpickler(io.BytesIO(data), path).load()
    except UnsafePickleError:
        raise
    except (
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        EOFError,
        pickle.UnpicklingError,
    ) as error:
        raise UnsafePickleError(path, f"this is not a sound pickle of plain data ({error}).") from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise UnsafePickleError(path, f"the pickle asks for too much memory ({error}).") from error


def _read_bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnsafePickleError(path, f"{size:,} bytes are more than an annotation file has ({MAX_BYTES:,}).")
    return path.read_bytes()


def load_plain_pickle(path: Path | str) -> Any:
    """Read a pickle file of plain data, see `loads_plain`.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafePickleError: the file names anything but plain data, is damaged, or is too large.
    """
    file = Path(path)
    return loads_plain(_read_bytes(file), file)


def _is_torch_file(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        return True
    with path.open("rb") as file:
        return file.read(len(_TORCH_LEGACY_MAGIC)) == _TORCH_LEGACY_MAGIC


def load_split_file(path: Path | str) -> Any:
    """Read a ``.pth`` list: PyTorch's zip archive, PyTorch's older layout, or a bare pickle.

    The first two go through ``torch.load(weights_only=True)`` with numpy's array constructors admitted (some
    split files hold their boxes as small arrays); torch is imported only then.

    Raises:
        FileNotFoundError: there is no such file.
        UnsafePickleError: the file names anything else, is damaged, or is too large.
    """
    file = Path(path)
    if not _is_torch_file(file):
        return load_plain_pickle(file)
    if file.stat().st_size > MAX_BYTES:
        raise UnsafePickleError(file, f"more than {MAX_BYTES:,} bytes are no annotation file.")
    return _torch_load(file)


def _torch_load(path: Path) -> Any:
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL\s+(\S+)", str(error))
        if asked is None:
            reason = f"torch refuses it as unsafe or damaged ({_first_line(error)})."
            raise UnsafePickleError(path, reason) from error
        module, _, name = asked.group(1).rpartition(".")
        raise UnsafePickleError(path, _why_refused(module, name), asked.group(1)) from error
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, EOFError) as error:
        reason = f"this is not a sound torch file ({_first_line(error)})."
        raise UnsafePickleError(path, reason) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _numpy_globals() -> list[Any]:
    """What ``weights_only`` has to know to read arrays and scalars of plain numbers; old and new names."""
    import numpy as np
    from numpy._core.multiarray import _reconstruct, scalar

    kinds = (np.float64, np.float32, np.int64, np.int32, np.uint8)
    named = [
        (function, f"{module}.multiarray.{function.__name__}")
        for function in (_reconstruct, scalar)
        for module in ("numpy._core", "numpy.core")
    ]
    return [*named, np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in kinds)]
