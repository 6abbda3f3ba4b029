"""How far traces reach: none may grow beyond what a trace store keeps, and modules have spans of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._record import ModuleTimes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_test_observer._ids import SpanContext

# Tempo keeps 5 MB of a trace and drops the rest without a word. The sizes here are estimates, hence the distance.
TRACE_BYTES = 3_500_000
# A span without any text has some 1,100 bytes as OTLP, its share of the resource included.
_SPAN_BYTES = 1_200
_EVENT_BYTES = 120
# A phase or a fixture: 296 bytes with a node id of 73, and some for a longer name.
_INNER_BYTES = 280
# Tags and lengths around a text; half as many around an attribute's key and its value each.
_FRAME_BYTES = 8


class Traces:
    """Counts what each trace of a session holds, for one scope (see ``Ids``)."""

    def __init__(self) -> None:
        self._filled: dict[str, tuple[int, int]] = {}
        self._modules: dict[str, ModuleTimes] = {}

    def part_for(self, scope: str, nodeid: str, size: int) -> int:
        """Return which trace of its module (or of the session) a span of ``size`` bytes belongs to, from 0."""
        key = nodeid.partition("::")[0] if scope == "module" else ""
        part, filled = self._filled.get(key, (0, 0))
        if filled and filled + size > TRACE_BYTES:
            part, filled = part + 1, 0
        self._filled[key] = (part, filled + size)
        return part

    def stretch(self, name: str, module: SpanContext, start_ns: int, end_ns: int) -> None:
        """Stretch the span of a module over one of its tests, nanoseconds since the epoch.

        Without a ``name`` it is the root of a further trace of the session.
        """
        known = self._modules.get(module.span_id)
        if known is not None:
            start_ns, end_ns = min(known.start_ns, start_ns), max(known.end_ns, end_ns)
        self._modules[module.span_id] = ModuleTimes(name, start_ns, end_ns, module.trace_id, module.span_id)

    @property
    def modules(self) -> list[ModuleTimes]:
        """The spans of modules and of the session's further traces, in the order in which their first tests ended."""
        return list(self._modules.values())


def estimated_size(nodeid: str, texts: int, events: int, payloads: int, inner: int = 0) -> int:
    """Return about how many bytes the spans of a test have: ``texts`` and ``payloads`` count bytes.

    ``inner`` counts spans of phases and fixtures.
    """
    own = _SPAN_BYTES + 3 * len(nodeid) + texts + events * _EVENT_BYTES + payloads
    return own + inner * (_INNER_BYTES + len(nodeid))


def text_bytes(texts: Iterable[str]) -> int:
    """Return how many bytes texts have in UTF-8, their frames in a span included."""
    return sum([_FRAME_BYTES + len(text if text.isascii() else text.encode("utf-8", "replace")) for text in texts])
