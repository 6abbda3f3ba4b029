"""The lines of a sidecar: what rows cannot say, one JSON object a line, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - stands beside what msgspec reads
from functools import cache
from typing import Union

import msgspec

from pytest_test_observer._record import Context  # noqa: TC001 - msgspec reads it at run time
from pytest_test_observer._rows import encode


class Process(msgspec.Struct, frozen=True):
    """A process, so that another one can tell whether it still lives: see ``_process.is_alive``."""

    pid: int
    started: str
    host: str


class Begin(msgspec.Struct, frozen=True, tag_field="kind", tag="begin"):
    """First line: who writes, and what all rows of the run have in common.

    ``trace_scope`` and ``parent`` make the ids of spans; ``per_worker`` is ``--dist each``; ``spans`` says whether
    the lines of rows carry what spans need besides.
    """

    version: str
    session_id: str
    context: Context
    started_ns: int
    process: Process
    trace_scope: str = "auto"
    parent: tuple[str, str] | None = None
    per_worker: bool = False
    errors: str = "full"
    spans: bool = False


class Collected(msgspec.Struct, frozen=True, tag_field="kind", tag="collected"):
    """Collection is over: ``trace_scope`` is settled now."""

    collected: int
    deselected: int
    trace_scope: str
    workers: int = 0
    partial: bool = False


class Sealed(msgspec.Struct, frozen=True, tag_field="kind", tag="sealed"):
    """A batch: the next ``size`` bytes of ``table`` that no earlier batch holds, with their digest."""

    number: int
    table: str
    size: int
    rows: int
    digest: str


class Taken(msgspec.Struct, frozen=True, tag_field="kind", tag="taken"):
    """The destination has confirmed a batch."""

    number: int


class SetAside(msgspec.Struct, frozen=True, tag_field="kind", tag="set_aside"):
    """Lines of a batch that no destination will take are in quarantine; the rest of it was taken."""

    number: int
    rows: int


class Run(msgspec.Struct, frozen=True, tag_field="kind", tag="run"):
    """The row of the run: the last thing its writer says."""

    row: msgspec.Raw


Line = Union[Begin, Collected, Sealed, Taken, SetAside, Run]  # noqa: UP007 - msgspec reads it at run time

# No string inside a line can hold these bytes: its quotes are escaped.
_HEAD = b'{"kind":"'


def encode_line(line: Line) -> bytes:
    """Return a line as it stands in the file."""
    return encode(line) + b"\n"


@cache
def _decoder() -> msgspec.json.Decoder[Line]:
    return msgspec.json.Decoder(Line)  # made where it is needed: that takes a while


class Tail:
    """Reads the lines of a sidecar that were added since the last call.

    A last line that is not whole yet is left for the next call; torn and unknown ones are passed over.
    Several processes append: what one of them could only write in part stands before the next one's line,
    which counts.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[Line]:
        """Yield new lines."""
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - apart, to tell its errors from those of reading
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):
                    return
                self._offset += len(raw)
                line = raw[max(0, raw.rfind(_HEAD)) :]
                try:
                    yield _decoder().decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue


def count_taken(path: str) -> int:
    """Return how many rows of results a sidecar says have arrived, without a look at the rows."""
    rows: dict[int, int] = {}
    taken = 0
    for line in Tail(path).lines():
        if isinstance(line, Sealed) and line.table == "results":
            rows[line.number] = line.rows
        elif isinstance(line, Taken):
            taken += rows.pop(line.number, 0)
        elif isinstance(line, SetAside):
            taken += rows.pop(line.number, line.rows) - line.rows
    return taken
