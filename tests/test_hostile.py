"""Suites that do what no suite should: their result is the same with and without us, and their rows are right."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.beside import without_others
from tests.killing import helpers, is_left_alone, kill, wait_until
from tests.kit import Run
from tests.servers.faulty import faulty

if TYPE_CHECKING:
    from tests.kit import Observed

# Tells the descriptors that there are because of us: those that pytest had before it was configured are its
# own.
CONFTEST = """
import os, signal
def state():
    # pytest's own variable changes with each test
    variables = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return variables, handlers, signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getitimer(signal.ITIMER_REAL)
BEFORE = state()
def opened():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found
before = opened()
def ours():
    return [fd for fd, path in opened().items() if path not in before.values() and ("observer" in path or
    "pipe:" in path)]
"""
# The suites by what they do. Each ends with test_ok, which passes, and test_bad, which fails; all others
# pass.
END = "\ndef test_ok(): pass\ndef test_bad(): assert 0\n"
SUITES = {
    "waits for all children": """
        import os
        def test_wait():
            while True:
                try:
                    os.wait()
                except ChildProcessError:
                    break
        """,
    "lists child processes": """
        import os
        def test_no_child():
            mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == os.getpid()]
            assert mine == []
        def parent(pid):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    return int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                return 0
        """,
    "counts threads": """
        import os, threading
        def test_no_thread():
            assert threading.enumerate() == [threading.main_thread()]
        """,
    "forks and leaves by sys.exit": """
        import os, sys
        def test_fork():
            pid = os.fork()
            if pid == 0:
                sys.exit(3)
            assert os.waitpid(pid, 0)
        """,
    "forks and goes on": """
        import os
        def test_fork():
            os.fork()
        def test_in_both():
            pass
        """,
    "closes every descriptor": """
        import os
        from conftest import ours
        def test_close():
            for fd in ours():
                os.close(fd)
        """,
    "closes every descriptor and leaves a child behind": """
        import os, time
        from conftest import before, ours
        def test_close():
            if os.fork() == 0:
                for fd in before:
                    os.close(fd)  # but not ours
                time.sleep(3)
                os._exit(0)
            for fd in ours():
                os.close(fd)
        """,
    "hands the numbers of descriptors to others": """
        import os
        from conftest import ours
        files = []
        def test_replace(tmp_path):
            target = os.open(tmp_path / "theirs", os.O_RDWR | os.O_CREAT)
            for fd in ours():
                os.dup2(target, fd)
            files.append(tmp_path / "theirs")
        def test_theirs_is_untouched():
            assert files[0].read_bytes() == b""
        """,
    "sets SIGPIPE to its default": """
        import signal
        def test_sigpipe():
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        """,
    "ignores the death of children": """
        import signal
        def test_sigchld():
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        """,
    "deletes the cache directory": """
        import os, shutil
        def test_delete():
            shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
        """,
    "deletes the working directory": """
        import os, shutil
        def test_delete(tmp_path):
            os.chdir(tmp_path)
            shutil.rmtree(tmp_path)
        """,
    "freezes time": """
        import time, datetime
        def test_freeze():
            time.time = lambda: 1000.0
            time.time_ns = lambda: 1000_000_000_000
            time.monotonic = lambda: 5.0
            time.sleep = lambda seconds: None
        def test_frozen():
            assert time.time() == 1000.0
        """,
    "breaks open and os.write": """
        import builtins, os
        def test_break(monkeypatch):
            monkeypatch.setattr(os, "getpid", lambda: 1)
            monkeypatch.setattr(os.path, "exists", lambda path: False)
            monkeypatch.setattr("json.dumps", None)
        """,
    "forgets mocks of the system's functions": """
        import os
        from unittest import mock
        def test_forget():
            for name in ("open", "close", "fstat", "read", "write", "getpid", "waitpid"):
                mock.patch.object(os, name).start()
            mock.patch("builtins.open").start()
        """,
    "empties the environment": """
        import os
        def test_empty():
            os.environ.clear()
        """,
    "sees its environment and handlers unchanged": """
        import sys
        from conftest import BEFORE, state
        def test_unchanged():
            assert state() == BEFORE  # which depends on what started this process: nohup, a shell's background, CI
            assert "clickhouse_connect" not in sys.modules and "opentelemetry" not in sys.modules
        """,
}
COUNTS = re.compile(r"^=+ (.*) in [\d.]+s", re.MULTILINE)


def outcomes(run: Run) -> tuple[int, str]:
    """Return what a run says of itself: exit code and counts; a fork that went on says them first."""
    return run.returncode, ["no counts", *COUNTS.findall(run.stdout)][-1]


def both(observed: Observed, *arguments: str, env: dict[str, str] | None = None) -> tuple[Run, Run]:
    """Run the suite without us and with us, at the same time: the one must not see what the other deletes."""
    cache = {"XDG_CACHE_HOME": f"{observed.bench.cache}-without"}
    process = observed.bench.start(*arguments, env={**cache, **(env or {})})
    run = observed.run(*arguments, "--observer-exit-timeout=20", env=env)
    stdout, stderr = process.communicate(timeout=60)
    return Run(process.returncode, stdout, stderr), run


@pytest.mark.parametrize("suite", SUITES)
def test_a_hostile_suite_has_the_same_result_and_right_rows(observed: Observed, suite: str) -> None:
    text = dedent(SUITES[suite]) + END
    observed.bench.write(conftest=CONFTEST, test_h=text)
    # pytest-rerunfailures has a thread of its own
    without, run = both(observed, "-p", "no:rerunfailures")
    assert outcomes(run) == outcomes(without), run.stdout + run.stderr
    tests = [f"test_h.py::{name}" for name in re.findall(r"def (test_\w+)", text)]
    rows = observed.rows("nodeid, status")
    assert sorted((row["nodeid"], row["status"]) for row in rows) == sorted(
        (name, "failed" if name.endswith("test_bad") else "passed") for name in tests
    )
    assert run.returncode == 1
    assert f"{len(rows)} results sent" in run.summary
    assert "error of the plugin's own" not in run.stdout
    assert run.stderr == without.stderr
    assert observed.bench.buffered("") == []
    wait_until(lambda: is_left_alone(observed.bench), "all processes end")


def test_a_suite_that_truly_closes_every_descriptor_leaves_its_rows(observed: Observed) -> None:
    observed.bench.write(test_h="import os\ndef test_close(): os.closerange(3, 1000)\n" + END)
    without, run = both(observed, "-s")
    assert outcomes(run) == outcomes(without)
    assert len(observed.rows("nodeid")) == 3
    assert "3 results sent" in run.summary


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere paths are Unicode")
def test_an_environment_that_is_no_utf_8_costs_no_row(observed: Observed) -> None:
    observed.bench.write(test_h=END)
    observed.bench.cache = observed.bench.cache.with_name("cache \udcff")
    env = {"OTEL_SERVICE_NAME": "caf\udce9", "OTEL_RESOURCE_ATTRIBUTES": "team=\udcff"}
    ci = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1", "GITHUB_HEAD_REF": "\udcfcber"}
    run = observed.run(env=env | ci)
    assert "2 results sent" in run.summary
    rows = observed.rows("service, git_branch")
    assert rows == [{"service": "caf\\udce9", "git_branch": "\\udcfcber"}] * 2
    (row,) = observed.rows("attributes['team'] AS team", "pytest_results_runs", "run_id")
    assert row == {"team": "\\udcff"}


def test_modules_beside_the_tests_shadow_nothing_of_the_helper(observed: Observed) -> None:
    for name in ("json", "allure", "msgspec", "clickhouse_connect", "urllib3", "tempfile"):
        observed.bench.write(**{name: "raise RuntimeError('a module of the suite')"})
    observed.bench.write(test_h=END, conftest="")
    shutil.move(observed.bench.suite, observed.bench.suite.parent / "inner")
    observed.bench.suite.mkdir()
    shutil.move(observed.bench.suite.parent / "inner", observed.bench.suite / "inner")
    without, run = both(observed, "inner")
    assert outcomes(run) == outcomes(without), run.stdout + run.stderr
    assert "2 results sent" in run.summary


def test_three_sessions_in_one_process_have_their_own_runs_and_one_helper_each(observed: Observed) -> None:
    observed.bench.write(
        test_h=END,
        thrice="""
            import os, pytest, sys
            def read(fd):
                try:
                    return os.readlink(f"/proc/self/fd/{fd}")
                except OSError:
                    return ""
            pipes = [path for path in map(read, os.listdir("/proc/self/fd")) if "pipe:" in path]
            for _ in range(3):
                print("exit", int(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]])), flush=True)
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                print("no child")
            opened = [read(fd) for fd in os.listdir("/proc/self/fd")]
            print("descriptors", [path for path in opened if "observer" in path])
            print("pipes", pipes == [path for path in opened if "pipe:" in path])
            """,
    )
    flags = [*observed.flags, "--observer-exit-timeout=20"]
    done = subprocess.run(
        [sys.executable, "thrice.py", *flags, *without_others(flags, observed.bench.suite)],
        cwd=observed.bench.suite,
        env=observed.bench.environment(observed.env),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("exit 1\n") == 3
    assert done.stdout.count("test-observer: 2 results sent") == 3
    assert "no child" in done.stdout
    assert len(observed.rows("run_id", "pytest_results_runs", "run_id")) == 3
    assert len(observed.rows("nodeid")) == 6
    assert done.stdout.endswith("descriptors []\npipes True\n")
    assert done.stderr == ""


def test_without_an_interpreter_a_fork_sends_at_the_end(observed: Observed) -> None:
    observed.bench.write(test_h=END, conftest="import sys\nsys.executable = ''\n")
    without, run = both(observed)
    assert outcomes(run) == outcomes(without)
    assert "2 results sent" in run.summary
    assert len(observed.rows("nodeid")) == 2
    assert run.stderr == ""
    wait_until(lambda: is_left_alone(observed.bench), "all processes end")


def test_a_fork_that_sends_opens_files_although_the_suite_forgot_a_mock_of_open(observed: Observed) -> None:
    forgets = "from unittest import mock\ndef test_forget(): mock.patch('builtins.open').start()\n"
    observed.bench.write(test_h=forgets + END, conftest="import sys\nsys.executable = ''\n")
    without, run = both(observed)
    assert outcomes(run) == outcomes(without)
    assert "3 results sent" in run.summary
    assert len(observed.rows("nodeid")) == 3


def test_a_fork_that_sends_is_given_up_in_time_like_a_helper(observed: Observed) -> None:
    observed.bench.write(test_h=END, conftest="import sys\nsys.executable = ''\n")
    with faulty("dripping") as server:
        run = observed.bench.run(f"--ch-url={server.url}", "--observer-exit-timeout=1")
    assert run.returncode == 1
    assert "2 kept on disk - not all was sent within 1 s" in run.summary
    wait_until(lambda: is_left_alone(observed.bench), "all processes end", 5)


def test_a_helper_that_cannot_start_is_explained_and_replaced_by_a_fork(observed: Observed) -> None:
    broken = observed.bench.suite / "python"
    broken.write_text("#!/bin/sh\necho 'no such interpreter' >&2\nexit 1\n")
    broken.chmod(0o755)
    observed.bench.write(test_h=END, conftest=f"import sys\nsys.executable = {str(broken)!r}\n")
    run = observed.run("--observer-exit-timeout=20")
    assert run.returncode == 1
    assert "2 results sent" in run.summary
    assert observed.bench.buffered("") == []
    assert run.stderr == ""


@pytest.mark.parametrize("hook", ["pytest_sessionfinish(session)", "pytest_unconfigure(config)"])
def test_another_plugin_that_fails_at_the_end_changes_nothing(observed: Observed, hook: str) -> None:
    observed.bench.write(test_h=END, conftest=f"def {hook}: raise RuntimeError('another plugin')\n")
    without, run = both(observed)
    assert outcomes(run) == outcomes(without)
    assert run.returncode == without.returncode
    assert len(observed.rows("nodeid")) == 2
    assert "2 results sent" in run.stdout
    wait_until(lambda: is_left_alone(observed.bench), "all processes end")


def test_another_plugin_that_fails_at_the_start_leaves_nothing_behind(observed: Observed) -> None:
    observed.bench.write(test_h=END, conftest="def pytest_configure(config): raise RuntimeError('another plugin')\n")
    without, run = both(observed)
    assert run.returncode == without.returncode != 0
    assert observed.bench.buffered("") == []
    wait_until(lambda: is_left_alone(observed.bench), "all processes end")


STRICT = "[pytest]\nfilterwarnings = error\n"


def test_warnings_that_are_errors_find_none_of_ours(observed: Observed) -> None:
    observed.bench.write(test_h=END, pytest_ini=STRICT)
    without, run = both(observed, env={"PYTHONWARNINGS": "error"})
    assert outcomes(run) == outcomes(without), run.stdout + run.stderr
    assert "2 results sent" in run.summary
    assert run.stderr == without.stderr


def test_a_warning_of_ours_changes_no_result_where_warnings_are_errors(observed: Observed) -> None:
    observed.bench.write(test_h="def test_ok(): pass\n", pytest_ini=STRICT)
    with faulty("refusing") as server:
        run = observed.bench.run(f"--ch-url={server.url}", "-W", "error")
    assert run.returncode == 0
    assert "1 kept on disk" in run.summary


def test_a_process_that_a_suite_without_rights_may_not_end_is_left() -> None:
    program = """
        import os
        from pytest_test_observer._process import describe, kill
        if os.getuid() == 0:
            os.setuid(65534)
        kill(describe(1))
        """
    subprocess.run([sys.executable, "-c", dedent(program)], check=True)


def test_a_helper_that_is_killed_between_tests_changes_nothing(observed: Observed) -> None:
    observed.bench.write(
        test_h="""
            import pathlib, time
            def test_gate():
                deadline = time.monotonic() + 60
                while not pathlib.Path("go").exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            """
    )
    process = observed.start("--observer-exit-timeout=20")
    wait_until(lambda: helpers(observed.bench, process.pid), "the helper starts")
    kill(*helpers(observed.bench, process.pid))
    (observed.bench.suite / "go").touch()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "test-observer: 1 result sent" in stdout
    assert stderr == ""


def test_a_reader_of_pytests_output_is_not_kept_waiting(observed: Observed) -> None:
    observed.bench.write(test_h="import os\ndef test_leave(): os._exit(3)\n")
    with faulty("silent") as server:
        process = observed.bench.start(f"--ch-url={server.url}")
        process.communicate(timeout=60)  # ends once nobody holds the other end of the pipes
        assert helpers(observed.bench, process.pid)
        kill(*helpers(observed.bench))
    assert process.returncode == 3


def can_make_namespaces() -> bool:
    done = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_as_the_first_process_of_a_container_all_is_sent(observed: Observed) -> None:
    if not can_make_namespaces():
        pytest.skip("this user may not make a process namespace")
    observed.bench.write(test_h="import os\ndef test_first(): assert os.getpid() == 1\n" + END)
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    done = subprocess.run(
        [
            *namespace,
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *observed.flags,
            "--observer-exit-timeout=20",
        ],
        cwd=observed.bench.suite,
        env=observed.bench.environment(observed.env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "3 results sent" in done.stdout
    assert {row["status"] for row in observed.rows("status")} == {"passed", "failed"}
    assert observed.bench.buffered("") == []


def settled(observed: Observed) -> list[int]:
    """Return the helpers that have finished starting."""
    here = []
    for pid in helpers(observed.bench):
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile: it was on its way to a helper
            if os.readlink(f"/proc/{pid}/cwd") == "/":
                here.append(pid)
    return here


def test_what_the_helper_is_given_holds_no_secret(observed: Observed) -> None:
    observed.bench.write(
        test_h="""
            import pathlib, time
            def test_gate():
                deadline = time.monotonic() + 60
                while not pathlib.Path("go").exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            """
    )
    process = observed.start()
    wait_until(lambda: settled(observed), "the helper holds on to no directory of the user's")
    [helper] = settled(observed)
    texts = [Path(f"/proc/{helper}/{name}").read_bytes() for name in ("cmdline", "environ")]
    (observed.bench.suite / "go").touch()
    process.communicate(timeout=60)
    assert not [text for text in texts if observed.server.password.encode() in text]


@pytest.mark.parametrize("server", ["up", "down"])
def test_a_disk_that_fills_up_costs_what_did_not_fit_and_that_is_told(observed: Observed, server: str) -> None:
    observed.bench.write(test_h="import pytest\n@pytest.mark.parametrize('n', range(50))\ndef test_ok(n): pass\n")
    with faulty("refusing") as refusing:
        run = observed.bench.run(
            f"--ch-url={observed.server.url if server == 'up' else refusing.url}",
            f"--ch-db={observed.database}",
            "--observer-exit-timeout=20",
            env=observed.env,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        )
    found = re.search(r"(\d+) lost \(\[Errno 27\] File too large\)", run.summary)
    assert found
    whole = observed.rows("nodeid") if server == "up" else observed.bench.kept_rows()
    assert len(whole) + int(found[1]) == 50
    assert 10 < len(whole) < 50
    assert run.returncode == 0
    assert run.stderr == ""


def test_an_environment_of_bytes_that_are_no_utf_8_changes_no_result(observed: Observed) -> None:
    observed.bench.write(test_a="def test_ok(): pass\ndef test_bad(): assert 0\n")
    odd = {
        "XDG_CACHE_HOME": f"{observed.bench.cache}\udcff",
        "PYTEST_OBSERVER_RUN_ID": "run\udcff",
        "TMPDIR": str(observed.bench.suite.parent),
        "TRACESTATE": "vendor=\udcff",
        "GITHUB_ACTIONS": "true",
        "GITHUB_REF_NAME": "branch\udcff",
        "OTEL_RESOURCE_ATTRIBUTES": "key=\udcff",
    }
    run = observed.run("-n1", env=odd)
    assert run.returncode == 1, run.stdout
    assert run.summary.startswith("test-observer: 2 results sent")
    names = {(row["run_id"], row["git_branch"]) for row in observed.rows("run_id, git_branch")}
    assert names == {("run\\udcff", "branch\\udcff")}


@pytest.mark.parametrize("place", ["begin", "collected", "flush", "finish", "recorder.on_report"])
def test_an_error_of_our_own_changes_no_result_and_is_told_in_the_one_line(observed: Observed, place: str) -> None:
    observed.bench.write(
        test_h=END,
        conftest=f"""
            import pytest
            def fail(*arguments): raise ZeroDivisionError("a bug")
            @pytest.hookimpl(trylast=True)
            def pytest_configure(config):
                hooks = config.pluginmanager.get_plugin("test_observer_session")
                owner, _, name = "_run.{place}".rpartition(".")
                for part in owner.split("."):
                    hooks = getattr(hooks, part)
                setattr(hooks, name, fail)
            """,
    )
    run = observed.run("--observer-exit-timeout=20")
    assert run.returncode == 1
    assert "1 failed, 1 passed" in run.stdout
    # a sentence of its own, or behind a colon where there is nothing else to tell
    assert "an error of the plugin's own: zerodivisionerror: a bug" in run.summary.lower()
    assert run.stderr == ""
    wait_until(lambda: is_left_alone(observed.bench), "all processes end", 40)
