"""Java programs that come with ``pycocoevalcap``, run so that nothing hangs and no failure is silent.

Only the jars of that package are used; its Python code is not imported.
"""

from __future__ import annotations

import importlib.util
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

BAR: dict[str, Any] = {"unit": " lines", "unit_scale": True, "delay": 2.0, "disable": None, "leave": False}
PATIENCE = 300.0
SHOWN_ERROR = 400


class CaptionToolError(RuntimeError):
    """A caption tool that is not installed, or that failed; says what to install."""


def find_java() -> str:
    """The ``java`` program.

    Raises:
        CaptionToolError: there is none.
    """
    java = shutil.which("java")
    if java is None:
        raise CaptionToolError("there is no 'java' on the search path; install a Java runtime (8 or newer)")
    return java


def find_jar(folder: str, name: str) -> Path:
    """A jar of the package ``pycocoevalcap``.

    Raises:
        CaptionToolError: the package or the jar is missing.
    """
    spec = importlib.util.find_spec("pycocoevalcap")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise CaptionToolError("pycocoevalcap is not installed; run: pip install 'refkit[captions]'")
    jar = Path(places[0]) / folder / name
    if not jar.is_file():
        raise CaptionToolError(f"pycocoevalcap is installed without {folder}/{name}; install it anew")
    return jar


class LineProgram:
    """A program that answers every line on its input with one line on its output.

    Lines are written by a thread of their own while answers are read, so neither side waits for the other,
    and what the program complains about is kept in a file, so that it cannot block on it.
    """

    def __init__(self, command: Sequence[str], name: str, patience: float = PATIENCE) -> None:
        """Start the program.

        Args:
            command: program and arguments.
            name: for messages.
            patience: seconds to wait for the next line before the program is given up.
        """
        self._name = name
        self._patience = patience
        self._single = False
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints
        )
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self, lines: Sequence[str]) -> list[str]:
        """The answer to each line.

        Raises:
            CaptionToolError: the program ended or fell silent before it had answered every line.
        """
        writer = threading.Thread(target=self._write, args=(lines,), daemon=True)
        writer.start()
        answers = list(tqdm(self._take(len(lines)), self._name, len(lines), **BAR))
        writer.join()
        return answers

    def ask_once(self, lines: Sequence[str]) -> list[str]:
        """Like `ask`, for a program that answers only once its input has ended; it cannot be asked again.

        Raises:
            CaptionToolError: the program did not answer every line, or answered more than it was asked.
        """
        self._single = True
        answers = self.ask(lines)
        if self._answers.get(timeout=self._patience) is not None:
            raise CaptionToolError(f"{self._name} gave more than {len(lines)} answers to {len(lines)} lines")
        return answers

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        self._complaints.close()

    def _take(self, count: int) -> Iterator[str]:
        for number in range(count):
            try:
                answer = self._answers.get(timeout=self._patience)
            except queue.Empty:
                raise self._failure(
                    f"gave no answer for {self._patience:.0f} seconds", number, count
                ) from None
            if answer is None:
                raise self._failure("ended", number, count)
            yield answer.decode("utf-8", "replace").rstrip("\r\n")

    def _failure(self, what: str, number: int, count: int) -> CaptionToolError:
        self._process.kill()
        self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().decode("utf-8", "replace").strip()[-SHOWN_ERROR:]
        return CaptionToolError(
            f"{self._name} {what} after {number} of {count} lines" + (f"; it said: {said}" if said else "")
        )

    def _write(self, lines: Sequence[str]) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            for line in lines:
                stream.write(line.encode("utf-8", "replace") + b"\n")
            stream.flush()
            if self._single:
                stream.close()
        except (OSError, ValueError):
            return  # the program ended: whoever reads its answers says so

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)
