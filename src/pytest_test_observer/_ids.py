"""Ids of spans and traces, made from what names them.

They derive from a random id of the session, so that the controller can name the span of a test whose worker is dead,
a resend carries the same ids, and two sessions with one run id never collide.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

try:  # hashlib would load OpenSSL; the standard library's random avoids that in the same way
    from _blake2 import blake2b
except ImportError:  # a Python without its own
    from hashlib import blake2b

# Version 00 ends after the flags, later ones may say more.
_TRACEPARENT = r"^(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$"

# Tempo keeps 5 MB of a trace and drops the rest without a word; a lean span has 440 bytes there.
TESTS_PER_TRACE = 2_000


def new_session_id() -> str:
    """Return 32 random hexadecimal digits; ``random`` is the tested suite's to seed."""
    return os.urandom(16).hex()


class SpanContext(NamedTuple):
    """Identity of a span: ``trace_id`` (32 hexadecimal digits), ``span_id`` (16), as W3C Trace Context writes them."""

    trace_id: str
    span_id: str


class SpanIds(NamedTuple):
    """Ids of a test's span and of the span above it, which is empty where the test's is the root of its trace."""

    trace_id: str
    span_id: str
    parent_span_id: str

    @property
    def above(self) -> SpanContext:
        """The span above."""
        return SpanContext(self.trace_id, self.parent_span_id)


def parse_traceparent(text: str | None) -> SpanContext | None:
    """Read a W3C ``traceparent``; anything malformed counts as absent, as the specification asks."""
    match = re.match(_TRACEPARENT, text.strip()) if text else None  # compiled where there is one only
    return SpanContext(match[1], match[2]) if match else None


class Ids:
    """Names every span of one session.

    ``scope`` is ``session``, ``module`` or ``test``: how far one trace reaches. ``auto`` is decided once the
    number of tests is known.
    """

    def __init__(self, session_id: str, scope: str = "auto", parent: SpanContext | None = None) -> None:
        self.session_id = session_id
        self.scope = scope
        self.parent = parent
        self._hashes = {size: blake2b(digest_size=size, key=session_id.encode()) for size in (8, 16)}
        self._of_tests = self._hashes[8].copy()
        self._of_tests.update(b"test\0")
        self.session = SpanContext(
            parent.trace_id if parent else self._hash(16, "trace"), self._hash(8, "session span")
        )

    def decide(self, collected: int) -> None:
        """Settle ``auto``: one trace where it is small enough to be kept whole, else one per module."""
        if self.scope == "auto":
            self.scope = "session" if collected <= TESTS_PER_TRACE else "module"

    def test(self, nodeid: str, attempt: int, distinction: str = "", part: int = 0) -> tuple[SpanContext, str]:
        """Name the span of an attempt, and the span above it: empty where it is the root of its trace.

        ``distinction`` tells equal node ids apart (worker, occurrence); ``part`` counts the traces that one of
        its scope has become too large for.
        """
        span_id = self.span_id(nodeid, attempt, distinction)
        if self.scope == "test":
            return SpanContext(self._hash(16, "test trace", nodeid, str(attempt), distinction), span_id), ""
        above = self.above(self.group(nodeid), part)
        return SpanContext(above.trace_id, span_id), above.span_id

    def span_id(self, nodeid: str, attempt: int, distinction: str = "") -> str:
        """Name the span of an attempt, within whichever trace."""
        made = self._of_tests.copy()  # what _hash() makes of "test" and the rest
        made.update(f"{nodeid}\0{attempt}\0{distinction}".encode("utf-8", "backslashreplace"))
        return made.hexdigest()

    def above(self, group: str, part: int) -> SpanContext:
        """Name the span that tests of a group stand below; ``group`` as ``group()`` says, not for scope ``test``."""
        if self.scope == "module":
            return self.module(group, part)
        return self.continued(part) if part else self.session

    def continued(self, part: int) -> SpanContext:
        """Name the root of a further trace of the session."""
        return SpanContext(self._hash(16, "trace", str(part)), self._hash(8, "session span", str(part)))

    def group(self, nodeid: str) -> str:
        """Return the module of a test where traces are per module, else nothing."""
        return nodeid.partition("::")[0] if self.scope == "module" else ""

    def module(self, module: str, part: int = 0) -> SpanContext:
        """Name the span of a module, in the trace of one of its parts."""
        names = (module, str(part)) if part else (module,)
        return SpanContext(self._hash(16, "module trace", *names), self._hash(8, "module span", *names))

    def _hash(self, size: int, *parts: str) -> str:
        made = self._hashes[size].copy()
        made.update("\0".join(parts).encode("utf-8", "backslashreplace"))
        return made.hexdigest()
