"""What can be wrong with a set-up, and what to do about it: the checks of ``pytest-observer doctor``."""

from __future__ import annotations

import os
import socket
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pytest_test_observer._columns import TABLES
from pytest_test_observer._destinations._answers import READONLY_USER, reply_to
from pytest_test_observer._destinations._tables import is_readonly, read_tables
from pytest_test_observer._destinations.config import destinations_of
from pytest_test_observer._destinations.schema import forgets_inserts, one_line, plan
from pytest_test_observer._journal.files import EVENTS_SUFFIX, SUFFIX
from pytest_test_observer._reading import ReadingError, open_reader
from pytest_test_observer._replay.find import buffer_directories, find
from pytest_test_observer._replay.survey import survey
from pytest_test_observer._text import counted
from pytest_test_observer._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_test_observer._destinations.settings import ClickHouseSettings, OtlpSettings
    from pytest_test_observer._reading import Reader
    from pytest_test_observer._settings import Settings

__all__ = ["Finding", "examine"]

_PACKAGES = ("pytest", "clickhouse-connect", "chdb", "opentelemetry-sdk")
_CONNECT_S = 3.0
_NO_DESTINATION = "none on the command line or in the environment; ini files of pytest are not read here"
_ENGINE_REMEDY = "Do what is said there; runs keep their results on disk meanwhile."
_SERVER_REMEDY = "Correct the setting that is named, or start the server; runs keep their results on disk meanwhile."
# Whoever writes results needs these; whoever makes the tables too: auto-migrate.
_NEEDED = ("SELECT", "INSERT")
# What becomes of a missing table, column or setting, by whether ch_auto_migrate is on.
_MAKES = {
    True: "The next run of pytest adds them (ch_auto_migrate), or an administrator does: ",
    False: "ch_auto_migrate is off, so nothing is written until an administrator runs: ",
}
_GUARDS = {
    True: "The next run of pytest changes that (ch_auto_migrate), or an administrator does: ",
    False: "ch_auto_migrate is off, so an administrator has to: ",
}


class Finding(NamedTuple):
    """``state`` is ``good``, ``note`` or ``bad``; ``remedy`` is what to do, empty where nothing has to be."""

    state: str
    about: str
    text: str
    remedy: str = ""


def examine(settings: Settings, environ: Mapping[str, str], on_wait: Callable[[str], None]) -> list[Finding]:
    """Check everything that ``settings`` concern; nothing is changed."""
    destinations = destinations_of(settings, environ)
    findings = [Finding("good", "versions", ", ".join(_versions()))]
    if not destinations:
        remedy = "Without one the plugin does nothing: give --ch-url or --otlp-endpoint, to pytest as well."
        findings.append(Finding("note", "destination", _NO_DESTINATION, remedy))
    if destinations.clickhouse is not None:
        findings += _clickhouse(destinations.clickhouse, on_wait)
    if destinations.otlp is not None:
        findings += _otlp(destinations.otlp)
    return [*findings, *_buffers(environ)]


def _versions() -> Iterator[str]:
    yield f"pytest-test-observer {__version__}"
    yield from map(_version, _PACKAGES)


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"


def _clickhouse(settings: ClickHouseSettings, on_wait: Callable[[str], None]) -> list[Finding]:
    try:
        with open_reader(settings, on_wait=on_wait) as reader:
            version = reader.client.server_version
            findings = [Finding("good", "connection", f"{settings.label} answers, ClickHouse {version}")]
            return [*findings, *_rights(reader), *_schema(reader)]
    except ReadingError as error:
        if error.empty:
            return [_not_yet_made(settings)]
        remedy = _ENGINE_REMEDY if settings.embedded else _SERVER_REMEDY
        return [Finding("bad", "connection", f"{settings.label}: {error}", remedy)]


def _not_yet_made(settings: ClickHouseSettings) -> Finding:
    """Tell whether a run of pytest could make the embedded database: by the directory that it would be made in."""
    above = settings.path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if os.path.isdir(above) and os.access(above, os.W_OK | os.X_OK):
        text = f"{settings.label}: no database is there yet"
        return Finding("note", "connection", text, "The first run of pytest with --ch-url makes it.")
    text = f"{settings.label}: no database is there, and none can be made in {above}"
    return Finding("bad", "connection", text, "Choose another path for --ch-url, or let this user write there.")


def _rights(reader: Reader) -> Iterator[Finding]:
    if is_readonly(reader.client):
        yield Finding("bad", "rights", READONLY_USER, "Results are read with this user, but runs cannot be stored.")
        return
    rights = [f"{right} ON {reader.place.of(table)}" for right in _NEEDED for table in TABLES.values()]
    granted = {right: _granted(reader, right) for right in rights}
    missing = [right for right, answer in granted.items() if answer is False]
    unknown = {right: answer for right, answer in granted.items() if isinstance(answer, str)}
    if missing:
        fix = "; ".join(f"GRANT {right} TO {reader.settings.user}" for right in missing)
        yield Finding("bad", "rights", f"the user lacks {', '.join(missing)}", f"To be run by an administrator: {fix}")
    if unknown:
        said = next(iter(unknown.values()))
        text = f"not known: the server does not answer CHECK GRANT {', CHECK GRANT '.join(unknown)} ({said})"
        remedy = "SHOW GRANTS lists what the user may do: INSERT and SELECT on these tables are needed."
        yield Finding("note", "rights", text, remedy)
    elif not missing:
        yield Finding("good", "rights", "the user may read and write the tables")


def _granted(reader: Reader, right: str) -> bool | str:
    """Whether the user has a right, or why the server does not tell: before 24.8 it cannot be asked."""
    try:
        return str(reader.client.command(f"CHECK GRANT {right}")).strip() != "0"
    except Exception as error:  # noqa: BLE001 (whatever it says, it is no answer to the question)
        return reply_to(error).message


def _schema(reader: Reader) -> Iterator[Finding]:
    try:
        found = read_tables(reader.client, reader.place)
    except Exception as error:  # noqa: BLE001 (whatever a library raises)
        yield Finding("bad", "tables", reply_to(error).message, "Check --ch-db and --ch-table.")
        return
    todo = plan(found, reader.place)
    for conflict in todo.conflicts:
        yield Finding("bad", "tables", conflict, "The ways out stand in the sentence above.")
    if todo.conflicts:
        # nothing is added beside a table that does not fit
        return
    missing = [
        f"{table.name(reader.place.table)}.{column}"
        for key, table in TABLES.items()
        if key in found
        for column in table.column_names
        if column not in found[key].columns
    ]
    absent = [reader.place.of(table) for key, table in TABLES.items() if key not in found]
    makes = _MAKES[reader.settings.auto_migrate]
    if todo.statements:
        state = "bad" if missing or not reader.settings.auto_migrate else "note"
        text = f"missing: {', '.join([*absent, *missing])}"
        yield Finding(state, "tables", text, makes + "; ".join(map(one_line, todo.statements)))
    if todo.guards:
        forgetful = [
            reader.place.of(table)
            for key, table in TABLES.items()
            if key in found and forgets_inserts(found[key].engine_full)
        ]
        text = f"repeats are not recognised, no record of inserts (deduplication window): {', '.join(forgetful)}"
        remedy = _GUARDS[reader.settings.auto_migrate] + "; ".join(map(one_line, todo.guards))
        yield Finding("bad", "tables", text, remedy)
    for note in todo.notes:
        yield Finding("note", "tables", note)
    if not (todo.statements or todo.guards):
        yield Finding("good", "tables", "all columns are there, and repeats are recognised")


def _otlp(settings: OtlpSettings) -> Iterator[Finding]:
    if settings.problem:
        yield Finding("bad", "OpenTelemetry", settings.problem, "Correct the variable or setting that is named.")
        return
    for note in settings.notes:
        yield Finding("note", "OpenTelemetry", note)
    address = urlsplit(settings.endpoint if "://" in settings.endpoint else f"//{settings.endpoint}")
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "localhost", port), _CONNECT_S).close()
    except OSError as error:
        cause = f"{settings.label} does not answer ({error.strerror or error})"
        yield Finding("bad", "OpenTelemetry", cause, "Start the receiver, or correct --otlp-endpoint.")
    else:
        yield Finding("good", "OpenTelemetry", f"{settings.label} takes connections")


def _buffers(environ: Mapping[str, str]) -> Iterator[Finding]:
    surveys = [survey(thing) for thing in find(buffer_directories(environ))]
    going = [seen for seen in surveys if seen.goes]
    if going:
        # version 0.2.0 kept events in a file of their own
        runs = {seen.path.removesuffix(SUFFIX).removesuffix(EVENTS_SUFFIX.removesuffix(SUFFIX)) for seen in going}
        rows, size = sum(seen.rows for seen in going), sum(seen.size for seen in going)
        text = f"{counted(len(runs), 'run')}, {counted(rows, 'row')}, {size:,} bytes"
        remedy = "Send them with: pytest-observer replay (--dry-run lists them)"
        yield Finding("note", "kept on disk", text, remedy)
    for seen in surveys:
        if seen.unreadable:
            text = f"{seen.path} {seen.state}"
            yield Finding("note", "kept on disk", text, "Its owner can send it: pytest-observer replay")
    if not going:
        yield Finding("good", "kept on disk", "nothing that can be sent now" if surveys else "nothing")
