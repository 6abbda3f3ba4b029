"""Secrets appear nowhere, however they are given and however a run ends.

Each run below is given several secrets at once, and everything that it printed, wrote, started and sent is searched
for every spelling of every one of them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus, unquote

import pytest

from pytest_test_observer._secrets import SHORTEST_SECRET, blacked_out, given_secrets
from pytest_test_observer._settings import resolve_layers
from tests.kit import Observed, Run, Workbench
from tests.replay_kit import Replayer
from tests.servers._proxy import Proxy, Received
from tests.servers.faulty import faulty
from tests.servers.otlp import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.client import ClickHouse

# ClickHouse's password is that of the test's server, see ``secrets_of``.
OVERRULED, OTLP_PASSWORD, TOKEN, BEARER = "0verruled pa$$", "0tlp/w@rd", "t0ken-in-a-header", "b3arer+t0ken="
# What carries a secret to where it belongs.
CREDENTIALS = ("authorization", "x-clickhouse-key", "x-token")
SUITE = """
    import os, pathlib, pytest

    def test_processes():
        seen = pathlib.Path("seen")
        seen.mkdir(exist_ok=True)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                process = pathlib.Path("/proc", pid)
                environ = (process / "environ").read_bytes()
                if os.environ["XDG_CACHE_HOME"].encode() in environ:
                    command = (process / "cmdline").read_bytes()
                    (seen / f"{pid}.cmdline").write_bytes(command)
                    if b"_shipper.helper" in command:
                        (seen / f"{pid}.environ").write_bytes(environ)
            except OSError:
                continue

    def test_bad():
        local = {"a": 1}
        assert local == {}

    def test_event(record_event):
        record_event("asked", {"cents": "5"})
    """
CONFTEST = """
    import pathlib, pytest

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_configure_node(node):
        pathlib.Path("seen").mkdir(exist_ok=True)
        pathlib.Path("seen", "workerinput").write_text(repr(node.workerinput))
    """
# Stands before git: notes what a child of the plugin's is given.
GIT = f"""#!{sys.executable}
import os, pathlib, sys
seen = pathlib.Path("seen")
seen.mkdir(exist_ok=True)
(seen / f"git-{{os.getpid()}}.cmdline").write_text(" ".join(sys.argv))
(seen / f"git-{{os.getpid()}}.environ").write_text(repr(dict(os.environ)))
sys.exit(1)
"""
LOUD = ("-vv", "-l", "--trace-config", "--debug=debug.log", "--junitxml=junit.xml", "--custom-events=true")
# What each run meets: a source of the secrets, and how it goes.
RUNS = [
    ("environment", "taken"),
    ("environment", "xdist"),
    ("environment", "down"),
    ("environment", "401"),
    ("ini", "xdist"),
    ("arguments", "401"),
]


class Places(NamedTuple):
    """Addresses of a run's destinations, without credentials."""

    clickhouse: str
    otlp: str


class Given(NamedTuple):
    """How a run is given its secrets."""

    environment: dict[str, str]
    ini: str
    arguments: list[str]


class Seen(NamedTuple):
    """A run that ended, and all that could be seen of it: name and bytes."""

    bench: Workbench
    run: Run
    texts: dict[str, bytes]


def secrets_of(server: ClickHouse) -> list[str]:
    return [server.password, OVERRULED, OTLP_PASSWORD, TOKEN, BEARER]


def spellings(secret: str) -> set[bytes]:
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    for user in ("default", "somebody", "collector"):
        texts.add(base64.b64encode(f"{user}:{secret}".encode()).decode())
    return {text.encode() for text in texts}


def with_userinfo(url: str, user: str, password: str) -> str:
    return url.replace("://", f"://{user}:{quote(password, safe='')}@")


def given_by(source: str, places: Places, password: str) -> Given:
    """Return the secrets in the form of one source; a password of its own overrules the URL's."""
    values = {
        "ch_url": with_userinfo(places.clickhouse, "somebody", OVERRULED),
        "ch_user": "default",
        "ch_password": password,
        "otlp_endpoint": with_userinfo(places.otlp, "collector", OTLP_PASSWORD),
        "otlp_protocol": "http/protobuf",
    }
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"x-token={TOKEN},authorization=Bearer%20{quote(BEARER)}"}
    if source == "ini":
        return Given(headers, "".join(f"{name} = {value}\n" for name, value in values.items()), [])
    if source == "arguments":
        return Given(headers, "", [f"--{name.replace('_', '-')}={value}" for name, value in values.items()])
    variables = {f"PYTEST_OBSERVER_{name.upper()}": value for name, value in values.items()}
    return Given({**headers, **variables}, "", [])


@contextlib.contextmanager
def recording(target: str, requests: list[Received]) -> Iterator[str]:
    """Run a proxy before a server that keeps what it is sent; yields its URL."""
    proxy = Proxy(target, requests.append)
    with proxy.running():
        yield f"http://127.0.0.1:{proxy.port}"


@contextlib.contextmanager
def destinations(case: str, server: ClickHouse, sent: list[Received]) -> Iterator[Places]:
    """Run the destinations of a case: OTLP takes all, or nobody does, or ClickHouse takes what OTLP does not."""
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        refusing = stack.enter_context(faulty("refusing"))
        denying = stack.enter_context(faulty("401"))
        recorder = stack.enter_context(recording(server.url, sent))
        if case == "401":
            receiver.answer(401, b"who are you?", requests=100)
        yield {
            "taken": Places(recorder, receiver.endpoint("http/protobuf")),
            "xdist": Places(recorder, refusing.url),
            "down": Places(refusing.url, refusing.url),
            "401": Places(denying.url, receiver.endpoint("http/protobuf")),
        }[case]
        sent += denying.requests
        sent += [Received(request.path, request.headers, request.body) for request in receiver.requests]


def observe(directory: Path, source: str, case: str, server: ClickHouse, database: str) -> Seen:
    bench = Workbench(directory)
    programs = directory / "bin"
    programs.mkdir()
    (programs / "git").write_text(GIT)
    (programs / "git").chmod(0o755)
    sent: list[Received] = []
    with destinations(case, server, sent) as places:
        given = given_by(source, places, server.password)
        bench.write(
            test_a=SUITE,
            conftest=CONFTEST,
            pytest_ini=f"[pytest]\n{given.ini}",
        )
        path = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        flags = [f"--ch-db={database}", "--observer-exit-timeout=30", *LOUD, *(["-n", "2"] if case == "xdist" else [])]
        run = bench.run(*flags, *given.arguments, env={**path, **given.environment})
    texts = {"stdout": run.stdout.encode(), "stderr": run.stderr.encode(), **_files(bench), **_requests(sent)}
    return Seen(bench, run, texts)


def _files(bench: Workbench) -> dict[str, bytes]:
    """Return the files that a run left; not what gave it its secrets."""
    paths = [path for root in (bench.suite, bench.cache) for path in root.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if path.name != "pytest.ini"}


def _requests(sent: list[Received]) -> dict[str, bytes]:
    found = {}
    for number, request in enumerate(sent):
        headers = {name: value for name, value in request.headers.items() if name not in CREDENTIALS}
        found[f"request {number}"] = f"{request.line}\n{headers}\n".encode() + request.body
    return found


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse
) -> Iterator[dict[tuple[str, str], Seen]]:
    if not clickhouse_server.controllable:
        pytest.skip("the password of the server is not one to look for")
    database = "test_secrets"
    clickhouse_server.execute(f"CREATE DATABASE IF NOT EXISTS {database}")
    directories = [tmp_path_factory.mktemp(f"{source}-{case}") for source, case in RUNS]
    with ThreadPoolExecutor(2) as threads:
        futures = [
            threads.submit(observe, directory, *run, clickhouse_server, database)
            for directory, run in zip(directories, RUNS, strict=True)
        ]
        yield dict(zip(RUNS, [future.result() for future in futures], strict=True))
    clickhouse_server.execute(f"DROP DATABASE {database} SYNC")


def leaks(texts: dict[str, bytes], secrets: list[str]) -> list[str]:
    """Return where secrets stand."""
    spelled = [spelling for secret in secrets for spelling in spellings(secret)]
    return sorted({name for name, text in texts.items() for spelling in spelled if spelling in text})


@pytest.mark.parametrize(
    ("flags", "environ", "secrets"),
    [
        ({"ch_password": "password"}, {}, ["password"]),
        ({"ch_password": "abc"}, {}, []),  # too short to be told from words
        ({"ch_url": "https://me:p%40ss@host"}, {}, ["p%40ss", "p@ss"]),
        ({"ch_url": "https://token@host"}, {}, ["token"]),
        ({"ch_url": "chdb:///data/me@home"}, {}, []),
        ({"otlp_endpoint": "http://me:password@host:4317"}, {}, ["password"]),
        ({"ch_password": "password"}, {"PYTEST_OBSERVER_CH_PASSWORD": "overruled"}, ["overruled", "password"]),
        ({}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://me:password@host"}, ["password"]),
        (
            {},
            {"OTEL_EXPORTER_OTLP_HEADERS": "a=b%3Dtoken,c=Bearer t0ken"},
            ["Bearer t0ken", "b%3Dtoken", "b=token", "t0ken"],
        ),
        ({}, {"OTEL_EXPORTER_OTLP_HEADERS": "no-name, =", "PATH": "me:password@x"}, ["no-name"]),
    ],
)
def test_secrets_are_known_wherever_they_are_given(
    flags: dict[str, str | None], environ: dict[str, str], secrets: list[str]
) -> None:
    assert given_secrets(resolve_layers(flags, {}, {}), environ) == secrets


@pytest.mark.parametrize(("source", "case"), RUNS)
def test_no_secret_is_in_anything_that_a_run_printed_wrote_started_or_sent(
    source: str, case: str, runs: dict[tuple[str, str], Seen], clickhouse_server: ClickHouse
) -> None:
    seen = runs[source, case]
    assert "1 failed, 2 passed" in seen.run.stdout
    expected = {"taken": "3 results sent", "xdist": "3 results sent", "down": "3 kept on disk", "401": "3 kept on disk"}
    assert expected[case] in seen.run.summary
    assert {"debug.log", "junit.xml"} <= {os.path.basename(name) for name in seen.texts}
    names = " ".join(seen.texts)
    assert re.search(r"git-\d+\.environ", names)
    assert re.search(r"/\d+\.environ", names), "the helper was not seen"
    assert ("request" in names) == (case != "down")
    assert ("workerinput" in names) == (case == "xdist")
    found = leaks(seen.texts, secrets_of(clickhouse_server))
    if (
        source == "arguments"
    ):  # what pytest copies of its own command line, and pytest's own entry in the list of processes
        found = [name for name in found if not name.endswith(("debug.log", f"{_pytest_pid(seen)}.cmdline"))]
    assert found == []


def _pytest_pid(seen: Seen) -> str:
    [pid] = [name for name, text in seen.texts.items() if name.endswith(".cmdline") and b"--debug=debug.log" in text]
    return pid.rpartition("/")[2].removesuffix(".cmdline")


def test_no_secret_is_in_the_help(bench: Workbench) -> None:
    given = given_by("environment", Places("http://h:1", "http://h:2"), "p@ss/word")
    ini = given_by("ini", Places("http://h:1", "http://h:2"), "p@ss/word").ini
    bench.write(pytest_ini=f"[pytest]\n{ini}")
    run = bench.run("--help", "-vv", env=given.environment)
    assert "--ch-password" in run.stdout
    assert (
        leaks({"out": run.stdout.encode(), "err": run.stderr.encode()}, ["p@ss/word", OVERRULED, OTLP_PASSWORD]) == []
    )


@pytest.mark.parametrize("way", ["clickhouse", "otlp"])
def test_no_secret_is_in_what_a_replay_prints_keeps_or_sends(
    way: str, runs: dict[tuple[str, str], Seen], clickhouse_server: ClickHouse, database: str, tmp_path: Path
) -> None:
    kept = runs["environment", "down"].bench
    replayer = Replayer(tmp_path, clickhouse_server, database)
    sent: list[Received] = []
    with receiving() as receiver, recording(clickhouse_server.url, sent) as url, faulty("refusing") as refusing:
        for clickhouse, otlp in ((refusing.url, refusing.url), (url, receiver.endpoint("http/protobuf"))):
            given = given_by("environment", Places(clickhouse, otlp), clickhouse_server.password).environment
            unused = "OTLP_ENDPOINT" if way == "clickhouse" else "CH_URL"
            environment = {**given, f"PYTEST_OBSERVER_{unused}": "", "PYTEST_OBSERVER_OTLP": ""}
            done = replayer.replay("--keep", kept.buffers, env=environment)
            texts = {"output": done.output.encode(), **_files(kept), **_requests(sent)}
            assert leaks(texts, secrets_of(clickhouse_server)) == []
        assert done.code == 0, done.output
        assert sent if way == "clickhouse" else receiver.spans


@pytest.mark.parametrize("flags", [(), ("-n1",)], ids=["serial", "xdist"])
@pytest.mark.parametrize("place", ["_run.ObservedRun.__init__", "_hooks._capture"])
def test_an_error_of_our_own_at_the_start_shows_nothing_and_ends_nothing(
    bench: Workbench, place: str, flags: tuple[str, ...]
) -> None:
    """pytest shows the locals of its internal errors, whole with -vv, and ours can be the environment."""
    module, _, name = place.partition(".")
    bench.write(
        test_a="def test_ok(): pass\n",
        conftest=f"""
            import os
            from pytest_test_observer import {module}
            def fail(*arguments, **options):
                environ = os.environ
                raise ZeroDivisionError(str(environ))
            {module}.{name} = fail
            """,
    )
    env = given_by("environment", Places("http://127.0.0.1:9", "http://127.0.0.1:9"), "p@ss/word").environment
    run = bench.run("-l", "-vv", *flags, env=env)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout
    if not flags or place.startswith("_run"):  # the controller runs no tests, and so captures nothing
        assert run.summary.startswith(
            "test-observer: off. An error of the plugin's own: ZeroDivisionError (conftest.py:"
        )
    assert (
        leaks({"out": run.stdout.encode(), "err": run.stderr.encode()}, ["p@ss/word", OVERRULED, OTLP_PASSWORD]) == []
    )


DUMP = """
    import os, pathlib
    def test_dump():
        environ = dict(os.environ)
        ini = pathlib.Path("pytest.ini").read_text()
        assert 0, f"{environ} {ini}"
    """


# Spellings of one password: as a URL and a header can be written, and as Python and JSON print them.
WRITTEN = "p%c3%a4ss%2fw%27%22ord"
ODD = """
    import json, os
    def test_dump():
        values = {k: v for k, v in os.environ.items() if k.startswith(("PYTEST_OBSERVER_", "OTEL_EXPORTER"))}
        binary = {k.encode(): v.encode() for k, v in values.items()}
        plain = json.dumps(values, ensure_ascii=False)
        assert 0, "\\n".join([*values.values(), json.dumps(values), plain, repr(values), ascii(values), repr(binary)])
    """


def test_no_way_of_writing_a_secret_is_overlooked(bench: Workbench) -> None:
    bench.write(test_a=ODD)
    env = {
        "PYTEST_OBSERVER_CH_URL": f"http://me:{WRITTEN}@127.0.0.1:9",
        "PYTEST_OBSERVER_CH_PASSWORD": unquote(WRITTEN),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={WRITTEN}",
    }
    run = bench.run("--observer-exit-timeout=30", env=env)
    assert "1 failed" in run.stdout
    [row] = bench.kept_rows()
    text = row["error_message"] + row["error_stacktrace"]
    assert "***" in text
    assert re.findall(r"p.{1,12}?ss(?!w)[^\s\"',]*ord", text) == []


@pytest.mark.parametrize("secret", ["s3cret-w0rd", "s3cret-s3cret"])
def test_what_is_left_of_a_secret_that_was_cut_short_is_none(secret: str) -> None:
    for size in range(len(secret)):
        head, tail = secret[:size], secret[len(secret) - size :]
        mark = "\n[... 12 or more bytes left out by pytest-test-observer ...]\n"
        for text in (f"a = '{head}...b'", f"a = 'b...{tail}'", f"{head}{mark}{tail}", f"'{head}...{tail}' {secret}"):
            found = blacked_out(text, [secret])
            assert size < SHORTEST_SECRET or (head not in found and tail not in found), (text, found)
    assert blacked_out("s3cret and so on ... -w0rd", [secret]) == "s3cret and so on ... -w0rd"


LONG = "-".join(f"l0ng{number}" for number in range(60))


def test_a_long_secret_that_pytest_shortens_is_not_known_by_its_ends(bench: Workbench) -> None:
    bench.write(
        test_a="""
            import os
            def test_dump():
                value = os.environ["PYTEST_OBSERVER_CH_PASSWORD"]
                assert dict(os.environ) == {}
            """
    )
    env = {"PYTEST_OBSERVER_CH_URL": "http://127.0.0.1:9", "PYTEST_OBSERVER_CH_PASSWORD": LONG}
    run = bench.run("-l", env=env)
    assert LONG[:60] in run.stdout
    assert LONG not in run.stdout
    [row] = bench.kept_rows()
    assert "l0ng" not in row["error_message"] + row["error_stacktrace"]


def test_what_git_inherits_holds_no_options_of_pytest(bench: Workbench) -> None:
    bench.write(test_a="def test_ok(): pass\n")
    programs = bench.suite.parent / "bin"
    programs.mkdir()
    (programs / "git").write_text(GIT)
    (programs / "git").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    bench.run(env={"PATH": path, "PYTEST_ADDOPTS": "--ch-url=http://127.0.0.1:9 --ch-password=h1dden-word"})
    seen = list((bench.suite / "seen").glob("git-*"))
    assert seen
    assert not [file for file in seen if "h1dden-word" in file.read_text()]


@pytest.mark.parametrize("source", ["environment", "ini"])
def test_a_test_that_prints_its_environment_brings_no_secret_into_file_row_or_span(
    source: str, observed: Observed
) -> None:
    sent: list[Received] = []
    with destinations("401", observed.server, sent) as places:
        given = given_by(source, places, observed.server.password)
        ini = f"[pytest]\n{given.ini}"
        observed.bench.write(test_a=DUMP, pytest_ini=ini)
        run = observed.bench.run("-l", "--observer-exit-timeout=30", env=given.environment)
    assert "1 failed" in run.stdout
    [row] = observed.bench.kept_rows()
    assert "***" in row["error_message"]
    assert "***" in row["error_stacktrace"]
    requests = _requests(sent)
    assert [name for name, text in requests.items() if b"test_dump" in text], "no span was sent"
    cache = {str(path): path.read_bytes() for path in observed.bench.buffered("")}
    assert leaks({**cache, **requests}, secrets_of(observed.server)) == []


@pytest.mark.parametrize(("kept", "wanted"), [("message", True), ("none", False)])
def test_of_an_error_only_what_is_asked_for_is_written_or_sent(bench: Workbench, kept: str, wanted: bool) -> None:
    """Also by what copies an error: the journal on disk, a span's exception event, its status."""
    bench.write(
        test_a="""
            import pytest
            def helper(): raise ValueError("the messaqe")
            def test_call(): helper()  # the sourse
            @pytest.fixture
            def broken(): helper()
            def test_setup(broken): pass
            @pytest.mark.xfail(reason="xfail messaqe")
            def test_xfail(): helper()
            def test_skip(): pytest.skip("skip messaqe")
            def test_subtest(subtests):
                with subtests.test("subtest"): helper()
            """,
        test_b="raise ValueError('the messaqe')  # the sourse",
    )
    flags = ("--continue-on-collection-errors", f"--observer-errors={kept}", "--otlp-detail=phase")
    with receiving() as receiver:
        receiver.answer(401, requests=100)
        endpoint = f"--otlp-endpoint={receiver.endpoint('http/protobuf')}"
        run = bench.run(endpoint, "--otlp-protocol=http/protobuf", "--observer-exit-timeout=30", *flags)
    assert "6 kept on disk" in run.summary
    sent = b"".join(request.body for request in receiver.requests)
    written = b"".join(path.read_bytes() for path in bench.buffered(""))
    for data in (sent, written):
        assert (b"messaqe" in data) == wanted
        assert b"sourse" not in data
        assert b"ValueError" in data
