"""A session whose beginning fails leaves nothing behind; one that can start no helper is sent at its end."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from tests.verdict_kit import wait_until

if TYPE_CHECKING:
    from tests.kit import Observed, Workbench

# Runs pytest twice in one process; says how that ended, what is open since then, and whether there is a child.
DRIVER = """
    import gc, json, os, sys
    import pytest

    class Plugin:
        pass

    {fault}

    def opened():
        found = dict()
        for name in os.listdir("/proc/self/fd"):
            try:
                found[name] = os.readlink("/proc/self/fd/" + name)
            except OSError:
                pass  # that of the listing
        return found

    def run():
        try:
            return int(pytest.main(flags + sys.argv[1:], plugins=[Plugin()]))
        except BaseException as error:
            return type(error).__name__

    flags = ["-q", "-p", "no:cacheprovider", "-p", "pytest_test_observer.plugin"]
    before = opened()
    ends = [run(), run()]
    gc.collect()  # what was forgotten warns now
    left = {{name: path for name, path in opened().items() if before.get(name) != path}}
    try:
        child = os.waitpid(-1, os.WNOHANG) != (0, 0) or "runs"
    except ChildProcessError:
        child = None
    print("\\n" + json.dumps(dict(ends=ends, left=left, child=child)))
"""


def raising(error: str, module: str, name: str) -> str:
    """Return what lets something of a module raise an error when it is called."""
    return f"""
    import {module} as faulty
    def fail(*_, **__): raise {error}
    faulty.{name} = fail
    """


FAULTS = {
    "the hooks cannot be imported": ("sys.modules['pytest_test_observer._hooks'] = None", 0),
    "our own code fails": (raising("RuntimeError", "pytest_test_observer._run", "begin_context"), 0),
    "our own code fails late": (raising("RuntimeError", "pytest_test_observer._hooks", "CaptureHooks"), 0),
    "Ctrl-C while ours loads": (raising("KeyboardInterrupt", "pytest_test_observer._hooks", "observe_session"), 2),
    "Ctrl-C while the helper starts": (raising("KeyboardInterrupt", "subprocess", "Popen"), 2),
    "another plugin fails": (
        """
    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config): raise pytest.UsageError("of somebody else")
    Plugin.pytest_configure = pytest_configure
    """,
        4,
    ),
}
# As where a process may open no more files until pytest has come further.
NO_DESCRIPTORS = """
    import errno
    def pipe():
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.endswith("_opening.py"):
                raise OSError(errno.EMFILE, "Too many open files")
            frame = frame.f_back
        return make()
    make, os.pipe = os.pipe, pipe
"""


def _run(bench: Workbench, fault: str, *arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    bench.write(test_a="def test_one(): pass")
    script = dedent(DRIVER).format(fault=dedent(fault))
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    environment = bench.environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(env or {})})
    done = subprocess.run(command, cwd=bench.suite, env=environment, capture_output=True, text=True, check=True)
    said = done.stdout.rpartition("\n{")[2]
    assert said, done.stdout + done.stderr
    assert "ResourceWarning" not in done.stderr
    return {**json.loads("{" + said), "output": done.stdout}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_left_of_a_session_that_came_no_further(bench: Workbench, fault: str) -> None:
    text, end = FAULTS[fault]
    found = _run(bench, text, "--ch-url=http://127.0.0.1:9")
    assert found["ends"] == [end, end], found["output"]
    assert (found["left"], found["child"]) == ({}, None)
    assert sorted(path.name for path in bench.buffers.iterdir()) == []


def test_without_descriptors_for_a_helper_the_results_are_sent_at_the_end(observed: Observed) -> None:
    found = _run(observed.bench, NO_DESCRIPTORS, *observed.flags, env=observed.env)
    assert found["ends"] == [0, 0], found["output"]
    assert found["output"].count("1 result sent") == 2


LOADING = """
    import pathlib, sys, time, types

    def load(*_):
        (pathlib.Path(__file__).parent / "loading").touch()
        time.sleep(60)

    sys.modules["pytest_test_observer._hooks"] = types.SimpleNamespace(observe_session=load)
"""


def test_nothing_is_left_of_a_pytest_that_is_killed_while_ours_loads(bench: Workbench) -> None:
    bench.write(loading=LOADING, test_a="def test_one(): pass")
    with bench.start("--ch-url=http://127.0.0.1:9", "-p", "loading") as process:
        wait_until((bench.suite / "loading").exists, "pytest to load our modules")
        assert list(bench.buffers.iterdir())
        process.kill()
    wait_until(lambda: not list(bench.buffers.iterdir()), "the helper to remove what nothing stands in")
