"""What is known of a request while an exporter makes it, and how its answer gets past the exporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_test_observer._destinations import Answer, Reply
from pytest_test_observer._destinations._otlp_answers import Answered, partial

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    from pytest_test_observer._destinations.settings import OtlpSettings

__all__ = ["CONNECT_TIMEOUT_S", "TooLarge", "Watch"]

# Less than a run waits at its end, so that there is time for the other way where there is one.
CONNECT_TIMEOUT_S = 1.5

_TAKEN = Reply(Answer.TAKEN)
_NEVER_ASKED = Reply(Answer.REFUSED, "the exporter does not send these spans")


class TooLarge(Exception):  # noqa: N818 (a finding, not a failure)
    """Encoded, a request is above its limit; nothing was sent."""


class Watch:
    """What is known of the request that is being made."""

    def __init__(self, settings: OtlpSettings) -> None:
        self.settings = settings
        self.spans = 0
        self.limit: int | None = None
        self.too_large = False
        self.is_encoded = False
        self.reply = _NEVER_ASKED

    def begin(self, spans: int, limit: int | None) -> None:
        """Forget the last request; the next one has so many spans, and may have ``limit`` bytes."""
        self.spans, self.limit, self.reply = spans, limit, _NEVER_ASKED
        self.too_large = self.is_encoded = False

    def measure(self, size: int) -> None:
        """Look at the size of an encoded request, before it is sent."""
        self.is_encoded = True
        self.too_large = self.limit is not None and size > self.limit
        if self.too_large:
            raise TooLarge

    def judge(self, answer: ExportTraceServiceResponse) -> None:
        """Look at the answer to a request that succeeded."""
        said = answer.partial_success
        rejected = said.rejected_spans
        self.reply = partial(rejected, self.spans, said.error_message) if rejected else _TAKEN

    def answered(self, reply: Reply) -> Answered:
        """Return what leaves the exporter with ``reply``."""
        self.reply = reply
        return Answered(reply)
