"""An OTLP receiver as a destination: a Collector, or anything else that takes spans over gRPC or HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from pytest_test_observer._destinations import Answer, Batch, Reply
from pytest_test_observer._destinations._answers import shorten, without_secrets
from pytest_test_observer._destinations.otlp_environment import GRPC
from pytest_test_observer._destinations.settings import OtlpSettings
from pytest_test_observer._lines import digest, lines_of
from pytest_test_observer._spans.lines import loose_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_test_observer._destinations._otlp_senders import Sender
    from pytest_test_observer._spans.batches import Piece, SpanMaker

__all__ = ["OtlpDestination", "OtlpSettings"]

# Collectors take 4 MiB in one message of gRPC unless told otherwise.
REQUEST_BYTES = 4_000_000
_READY = Reply(Answer.TAKEN)
# What an answer means where other spans of the line were taken before: they are stored.
_AFTER_OTHERS = {Answer.REFUSED: Answer.PARTLY, Answer.UNAVAILABLE: Answer.IN_DOUBT}
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


class OtlpDestination:
    """Sends the spans of batches; see ``Destination``.

    A batch becomes requests of at most 4 MB, cut the same way each time, so that a Collector that sees one again
    makes the same insert of it. Spans carry their events: an events batch sends only what no line of results carries.
    """

    carries_events = True

    def __init__(self, settings: OtlpSettings) -> None:
        self.label = settings.label
        self._settings = settings
        self._sender: Sender | None = None
        self._maker: SpanMaker | None = None
        self._settled: set[str] = set()
        self._notes = [without_secrets(note, tuple(settings.secrets)) for note in settings.notes]

    def warm_up(self) -> None:
        """Load the exporters, and connect."""
        self.prepare()

    def prepare(self) -> Reply:
        """See whether anybody listens; cheap once somebody did."""
        if self._sender is not None:
            return _READY
        problem = self._settings.problem or _unreadable_file(self._settings)
        if problem:
            return Reply(Answer.UNAVAILABLE, problem, fatal=True)
        try:
            return self._connect()
        except Exception as error:  # noqa: BLE001 (whatever a library raises, a destination answers)
            reason = f"the exporter cannot be made ({type(error).__name__}): check the OTEL_EXPORTER_OTLP_* variables"
            return Reply(Answer.UNAVAILABLE, reason, fatal=True)

    def send(self, batch: Batch) -> Reply:
        """Send the spans of ``batch``; what of it was confirmed before is not sent again."""
        if batch.table == "events" and not loose_events(batch.data):
            return _READY
        reply = self.prepare()
        if reply.answer is not Answer.TAKEN:
            return reply
        assert self._maker is not None
        try:
            pieces = list(self._maker.pieces(batch))
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            return Reply(Answer.REFUSED, shorten(f"a line is no row of this plugin: {error}"))
        return self._settle(pieces)

    def absent(self, batch: Batch) -> list[bytes] | None:
        """Return the lines that no request of this process has settled; None where it has none of them."""
        lines = lines_of(batch.data)
        left = [line for line in lines if digest(line) not in self._settled]
        return left if len(left) < len(lines) else None

    def notes(self) -> list[str]:
        """Return what the user should know although everything is stored; empties the list."""
        notes, self._notes = self._notes, []
        return notes

    def release(self) -> None:
        """Do nothing: many can send at a time."""

    def close(self) -> None:
        """Disconnect; ``prepare`` connects again."""
        if self._sender is not None:
            with contextlib.suppress(Exception):
                self._sender.close()
            self._sender = None

    def _connect(self) -> Reply:
        # gRPC's core writes to the terminal what the reply says; it looks at this when it is loaded.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        from pytest_test_observer._destinations._otlp_senders import make_sender  # noqa: PLC0415 (heavy)
        from pytest_test_observer._spans.batches import SpanMaker  # noqa: PLC0415 (heavy)

        reply = _knock(self._settings)
        if reply.answer is Answer.TAKEN:
            self._sender = make_sender(self._settings)
            self._maker = self._maker or SpanMaker()
        return reply

    def _settle(self, pieces: list[Piece]) -> Reply:
        taken: list[Piece] = []
        worst = _READY
        for request in _requests(pieces):
            todo = [piece for piece in request if not self._is_settled(piece)]
            reply = self._send(todo, taken) if todo else _READY
            worst = reply if reply.answer is not Answer.TAKEN else worst
            if reply.answer not in (Answer.TAKEN, Answer.REFUSED):  # a request that is refused holds up no other
                break
        if worst.answer is Answer.TAKEN:
            if self._settled:
                self._settled.difference_update(_digests(pieces))
            return _READY
        self._settled.update(_digests(taken))
        return self._explained(worst)

    def _send(self, pieces: list[Piece], taken: list[Piece]) -> Reply:
        """Send pieces in one request, in more where it is too large after all; adds to ``taken`` what was."""
        from pytest_test_observer._destinations._otlp_watch import TooLarge  # noqa: PLC0415 (heavy)

        assert self._sender is not None
        spans = [span for piece in pieces for span in piece.spans]
        middle = len(pieces) // 2
        try:
            reply = self._sender.send(spans, REQUEST_BYTES if len(spans) > 1 else None)
        except TooLarge:
            if not middle:
                return self._send_apart(pieces[0], taken)
            first = self._send(pieces[:middle], taken)
            if first.answer not in (Answer.TAKEN, Answer.REFUSED):
                return first
            second = self._send(pieces[middle:], taken)
            return first if second.answer is Answer.TAKEN else second
        if reply.answer is Answer.TAKEN:
            taken += pieces
        return reply

    def _send_apart(self, piece: Piece, taken: list[Piece]) -> Reply:
        """Send the spans of one line in several requests: a test's with its events, a run's with its fixtures."""
        from pytest_test_observer._destinations._otlp_watch import TooLarge  # noqa: PLC0415 (heavy)

        assert self._sender is not None
        waiting, sent = [piece.spans], 0
        while waiting:
            spans = waiting.pop()
            middle = len(spans) // 2
            try:
                reply = self._sender.send(spans, REQUEST_BYTES if middle else None)
            except TooLarge:
                waiting += [spans[middle:], spans[:middle]]
                continue
            if reply.answer is not Answer.TAKEN:
                return reply._replace(answer=_AFTER_OTHERS.get(reply.answer, reply.answer)) if sent else reply
            sent += len(spans)
        taken.append(piece)
        return _READY

    def _is_settled(self, piece: Piece) -> bool:
        return bool(self._settled) and all(digest(line) in self._settled for line in piece.lines)

    def _explained(self, reply: Reply) -> Reply:
        if reply.answer in (Answer.UNAVAILABLE, Answer.IN_DOUBT):
            self.close()  # a broken channel of gRPC would wait longer and longer before it connects again
        return reply._replace(message=without_secrets(reply.message, tuple(self._settings.secrets)))


def _requests(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Cut by the size of the lines, which is more than what their spans take, nearly always."""
    request: list[Piece] = []
    size = 0
    for piece in pieces:
        weight = sum(len(line) for line in piece.lines)
        if request and size + weight > REQUEST_BYTES:
            yield request
            request, size = [], 0
        request.append(piece)
        size += weight
    if request:
        yield request


def _digests(pieces: list[Piece]) -> set[str]:
    return {digest(line) for piece in pieces for line in piece.lines}


def _knock(settings: OtlpSettings) -> Reply:
    """Connect and hang up: gRPC takes a server that it cannot reach for one that does not answer.

    HTTP tells the two apart. Behind a proxy, or at an address of another kind, nobody can tell.
    """
    address = urlsplit(settings.endpoint if "://" in settings.endpoint else f"//{settings.endpoint}")
    if settings.protocol != GRPC or not address.hostname or not address.port or _has_proxy():
        return _READY
    from pytest_test_observer._destinations._otlp_answers import unreachable  # noqa: PLC0415 (heavy)
    from pytest_test_observer._destinations._otlp_watch import CONNECT_TIMEOUT_S  # noqa: PLC0415 (heavy)

    try:
        socket.create_connection((address.hostname, address.port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return unreachable(error)
    return _READY


def _unreadable_file(settings: OtlpSettings) -> str:
    """Say which certificate or key cannot be read, empty where all can."""
    files = {
        "CERTIFICATE": settings.certificate,
        "CLIENT_KEY": settings.client_key,
        "CLIENT_CERTIFICATE": settings.client_certificate,
    }
    for name, path in files.items():
        if path and not os.access(path, os.R_OK):
            return f"OTEL_EXPORTER_OTLP_{name} names a file that cannot be read: {path}"
    return ""


def _has_proxy() -> bool:
    return any(os.environ.get(form) for name in _PROXY_VARIABLES for form in (name, name.upper()))
