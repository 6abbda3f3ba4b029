"""Questions to a server or to the embedded engine, and what to say when there is no answer."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_test_observer._destinations._answers import error_code, reply_to, without_secrets
from pytest_test_observer._destinations.embedded import IN_MEMORY, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clickhouse_connect.driver.client import Client

    from pytest_test_observer._destinations.settings import ClickHouseSettings

    Columns = dict[str, list[Any]]
    Ask = Callable[[str], Columns]

__all__ = ["NoAnswerError", "asking"]

# Seconds that a server may be silent: a question about years of results takes longer than an insert.
_PATIENCE_S = 120
_SETTINGS = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_denormals": 0,
    "output_format_json_validate_utf8": 1,
}
# Codes of ClickHouse, for which a reader wants to know something else than one who writes.
_SENTENCES = {
    60: "there are no tables of results there: nothing was recorded yet, or --ch-db or --ch-table is another one",
    47: "the tables there are of an older version: a run of pytest with --ch-url brings them up to this one",
}


class NoAnswerError(Exception):
    """A question could not be asked or answered; the text says why and what to do, without secrets."""


@contextlib.contextmanager
def asking(settings: ClickHouseSettings, say: Callable[[str], None]) -> Iterator[Ask]:
    """Connect, and give what answers SQL with its columns, name by name. Raises ``NoAnswerError``.

    ``say`` is told a sentence while another process has the embedded engine.
    """
    try:
        with _client(settings, say) as client:
            yield lambda sql: _answer(client, sql)
    except NoAnswerError:
        raise
    except Exception as error:
        sentence = _SENTENCES.get(error_code(error) or 0) or reply_to(error).message
        raise NoAnswerError(without_secrets(sentence, (settings.password,))) from error


def _answer(client: Client, sql: str) -> Columns:
    answer = client.raw_query(sql, settings=_SETTINGS, fmt="JSONColumns")
    return msgspec.json.decode(answer, type=dict[str, list[Any]])


def _client(settings: ClickHouseSettings, say: Callable[[str], None]) -> contextlib.AbstractContextManager[Client]:
    if settings.embedded:
        # the engine would make what it does not find
        if settings.path == IN_MEMORY or not os.path.isdir(settings.path):
            raise NoAnswerError("there is no database at this path")
        return opened(settings.path, on_wait=say)
    from pytest_test_observer._destinations._http import connect  # noqa: PLC0415 (loads the library)

    return contextlib.closing(connect(msgspec.structs.replace(settings, read_timeout_s=_PATIENCE_S)))
