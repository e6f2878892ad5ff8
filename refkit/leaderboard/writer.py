"""Writing a prediction file piece by piece, so that a killed run continues where it stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from refkit.data.files import atomic_open
from refkit.leaderboard.box_spaces import PIXEL
from refkit.leaderboard.schema import PredictionError, PredictionHeader, prediction_to_json, to_line
from refkit.leaderboard.validation import parse_header, parse_line, parse_prediction
from refkit.structures import Prediction


class PredictionWriter:
    """Appends predictions to ``<path>.partial`` and gives the file its name once it is complete.

    Every `write` reaches the operating system before it returns, so a killed process loses nothing that was
    written, except for a last line torn in the middle, which the next run drops. As a context manager it
    calls `finish` when the block ends without an exception; otherwise the partial file stays for the next
    run.

        with PredictionWriter(path, header, resume=True) as writer:
            for batch in batches_without(writer.done):
                writer.write(predict(batch))

    Attributes:
        path: the final name; one that ends in ``.gz`` is compressed at the end.
        partial: the name until then.
        done: ids that are answered already.
    """

    def __init__(self, path: str | os.PathLike[str], header: PredictionHeader, resume: bool = False) -> None:
        """Start a file, or continue a partial one.

        Args:
            path: the final name.
            header: its box space is ``xyxy-pixel``.
            resume: continue ``<path>.partial`` where there is one; otherwise it is begun anew.

        Raises:
            PredictionError: another process writes this file, the partial file was made for other records,
                another model or other settings, or it is damaged before its last line.
        """
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.done: set[str] = set()
        fields = self.checked_header(header)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.partial.open("a+b")
        try:
            self._lock()
            if resume:
                self._file.truncate(self._read_partial(fields))
            else:
                self._file.truncate(0)
            if self._file.seek(0, os.SEEK_END) == 0:
                self._append([to_line(fields)])
        except BaseException:
            self._file.close()
            raise

    @staticmethod
    def checked_header(header: PredictionHeader) -> dict[str, Any]:
        """The header line as JSON.

        Raises:
            PredictionError: the box space is not ``xyxy-pixel``, the only one that refkit writes, or a field
                is wrong.
        """
        if header.box != PIXEL:
            raise PredictionError(f"refkit writes boxes as {PIXEL!r} only, not as {header.box!r}", "box")
        fields = header.to_json()
        parse_header(fields)
        return fields

    def write(self, predictions: Iterable[Prediction]) -> None:
        """Append predictions.

        Raises:
            PredictionError: an id that is answered already, or a prediction that could not be read back. None
                of the given predictions is written then.
        """
        lines: dict[str, bytes] = {}
        for prediction in predictions:
            if prediction.id in self.done or prediction.id in lines:
                raise PredictionError(f"{prediction.id!r} is answered twice", "id", os.fspath(self.partial))
            lines[prediction.id] = to_line(prediction_to_json(prediction))
        self._append(lines.values())
        self.done.update(lines)

    def finish(self) -> Path:
        """Give the file its name, replacing an older one.

        Returns:
            The final path.
        """
        os.fsync(self._file.fileno())
        if self.path.suffix == ".gz":
            self._file.seek(0)
            with atomic_open(self.path, compress=True) as packed:
                shutil.copyfileobj(self._file, packed)
            self.partial.unlink()
        else:
            self.partial.replace(self.path)
        self._file.close()
        return self.path

    def close(self) -> None:
        """Stop without finishing; the partial file stays for the next run."""
        self._file.close()

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.close()

    def _append(self, lines: Iterable[bytes]) -> None:
        self._file.write(b"".join(lines))
        self._file.flush()

    def _lock(self) -> None:
        """Two processes that append to one file would tear its lines; the second one is refused."""
        if importlib.util.find_spec("fcntl") is None:  # Windows has no advisory locks
            return
        import fcntl

        reason = "another process is writing this file; wait for it or choose another name"
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PredictionError(reason, path=os.fspath(self.partial)) from None
        # between opening and locking, the other process may have given the file its final name
        if not self.partial.exists() or not os.path.samestat(
            self.partial.stat(), os.fstat(self._file.fileno())
        ):
            raise PredictionError(reason, path=os.fspath(self.partial))

    def _read_partial(self, expected: dict[str, Any]) -> int:
        """Collect the ids that are done.

        Returns:
            Up to which byte the file is whole.
        """
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, start=1):
            try:
                if not line.endswith(b"\n"):
                    break
                self._take(parse_line(line), number, expected)
            except PredictionError as error:
                if number > 1 and not self._file.read(1):
                    break
                raise error.at(self.partial, number) from None
            whole += len(line)
        return whole

    def _take(self, fields: dict[str, Any], number: int, expected: dict[str, Any]) -> None:
        if number == 1:
            _check_same_run(fields, expected)
            return
        prediction, _ = parse_prediction(fields, PIXEL)
        if prediction.id in self.done:
            raise PredictionError(f"{prediction.id!r} is answered twice", "id")
        self.done.add(prediction.id)


def _check_same_run(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """A partial file may be continued by the same model with the same settings on the same records only."""
    for name in sorted((found.keys() | expected.keys()) - {"created", "made_by"}):
        if found.get(name) != expected.get(name):
            raise PredictionError(
                f"{found.get(name)!r} in the partial file, {expected.get(name)!r} in this run; "
                "delete the partial file or repeat the run that began it",
                name,
            )
