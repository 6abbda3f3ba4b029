"""How far traces reach: none may grow beyond what a trace store keeps, and modules have spans of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._record import ModuleTimes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_test_observer._ids import Ids, SpanContext

# Tempo keeps 5 MB of a trace and drops the rest without a word. The sizes here are estimates, hence the distance.
TRACE_BYTES = 3_500_000
# A span without any text has some 1,100 bytes as OTLP, its share of the resource included.
_SPAN_BYTES = 1_200
_EVENT_BYTES = 120
# A phase or a fixture: 296 bytes with a node id of 73, and some for a longer name.
_INNER_BYTES = 280
# Tags and lengths around a text; half as many around an attribute's key and its value each.
_FRAME_BYTES = 8


class _Trace:
    """One trace of a session while it grows: ``above`` is the span that its tests stand below."""

    __slots__ = ("above", "end_ns", "filled", "group", "part", "start_ns")

    def __init__(self, group: str, part: int, above: SpanContext) -> None:
        self.group = group
        self.part = part
        self.above = above
        self.filled = 0
        self.start_ns = 0
        self.end_ns = 0

    def stretch(self, start_ns: int, end_ns: int) -> None:
        """Stretch the span above over one of its tests, nanoseconds since the epoch."""
        if not self.end_ns or start_ns < self.start_ns:
            self.start_ns = start_ns
        self.end_ns = max(self.end_ns, end_ns)


class Traces:
    """The traces of a session and what each holds. Each ``group`` of tests (see ``Ids``) has one that still grows.

    Those below a span of their own (modules, further traces of the session) are remembered for that span.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._growing: dict[str, _Trace] = {}
        self._owned: dict[str, _Trace] = {}
        self._latest = _Trace("", -1, ids.session)

    def part_for(self, group: str, size: int) -> int:
        """Return which trace of a group (from 0) still has room for a span of ``size`` bytes, and take the room."""
        return self._with_room(group, size).part

    def place(self, nodeid: str, inner: int, start_ns: int, end_ns: int) -> SpanContext:
        """Return the span that a test without texts stands below, as ``part_for`` and ``stretch`` together would.

        ``inner`` counts its spans of phases and fixtures.
        """
        group = nodeid.partition("::")[0] if self._ids.scope == "module" else ""
        size = estimated_size(nodeid, inner=inner) if inner else _SPAN_BYTES + 3 * len(nodeid)
        trace = self._latest
        if trace.group == group and 0 < trace.filled < TRACE_BYTES - size:
            trace.filled += size
        else:
            trace = self._with_room(group, size)
        if 0 < trace.start_ns <= start_ns and trace.end_ns < end_ns:
            trace.end_ns = end_ns
        else:
            trace.stretch(start_ns, end_ns)
        return trace.above

    def _with_room(self, group: str, size: int) -> _Trace:
        trace = self._latest
        if trace.group != group or trace.part < 0:
            trace = self._growing.get(group) or self._begin(group, 0)
            self._latest = trace
        if trace.filled and trace.filled + size > TRACE_BYTES:
            trace = self._latest = self._begin(group, trace.part + 1)
        trace.filled += size
        return trace

    def stretch(self, group: str, above: SpanContext, start_ns: int, end_ns: int) -> None:
        """Stretch a span that was named elsewhere over one of its tests; the session's own needs no stretching."""
        if above.span_id in ("", self._ids.session.span_id):
            return
        trace = self._owned.get(above.span_id)
        if trace is None:
            trace = self._owned[above.span_id] = _Trace(group, 0, above)
        trace.stretch(start_ns, end_ns)

    @property
    def modules(self) -> list[ModuleTimes]:
        """The spans of modules and of the session's further traces, in the order in which their first tests ended."""
        return [
            ModuleTimes(trace.group, trace.start_ns, trace.end_ns, *trace.above)
            for trace in self._owned.values()
            if trace.end_ns
        ]

    def _begin(self, group: str, part: int) -> _Trace:
        above = self._ids.above(group, part)
        trace = self._owned.get(above.span_id) or _Trace(group, part, above)
        trace.part = part
        self._growing[group] = trace
        if above is not self._ids.session:
            self._owned[above.span_id] = trace
        return trace


def estimated_size(nodeid: str, texts: int = 0, events: int = 0, payloads: int = 0, inner: int = 0) -> int:
    """Return about how many bytes the spans of a test have: ``texts`` and ``payloads`` count bytes.

    ``inner`` counts spans of phases and fixtures.
    """
    own = _SPAN_BYTES + 3 * len(nodeid) + texts + events * _EVENT_BYTES + payloads
    return own + inner * (_INNER_BYTES + len(nodeid))


def text_bytes(texts: Iterable[str]) -> int:
    """Return how many bytes texts have in UTF-8, their frames in a span included."""
    return sum([_FRAME_BYTES + len(text if text.isascii() else text.encode("utf-8", "replace")) for text in texts])
