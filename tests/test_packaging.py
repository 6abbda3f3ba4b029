"""What is shipped: the source distribution, and the wheel, tested as it is built in an environment without extras."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.client import ClickHouse

ROOT = Path(__file__).resolve().parents[1]
NAME = "pytest-test-observer"

# What users with strict types write: all that is public, each answer put to the type that is promised.
TYPED = """
    from collections.abc import Callable, Sequence

    import pytest
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
    from typing_extensions import assert_type

    import pytest_test_observer
    from pytest_test_observer import ClickHouseSpanExporter
    from pytest_test_observer.exporter import ClickHouseSpanExporter as TheSame
    from pytest_test_observer.plugin import RecordEvent

    assert_type(pytest_test_observer.__version__, str)
    kinds: list[type[SpanExporter]] = [ClickHouseSpanExporter, TheSame]

    exporter = ClickHouseSpanExporter(
        "localhost:8123",
        user="default",
        password="",
        database="default",
        table="pytest_results",
        auto_migrate=True,
        cluster="",
    )
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def again(spans: Sequence[ReadableSpan]) -> bool:
        assert_type(exporter.export(spans), SpanExportResult)
        return exporter.force_flush(timeout_millis=1000)

    @pytest.fixture
    def step(record_event: RecordEvent) -> Callable[[str], None]:
        return lambda name: record_event("step", {"name": name})

    def test_checkout(record_event: RecordEvent, observer_trace_environment: dict[str, str]) -> None:
        record_event("paid", {"order": "7", **observer_trace_environment})
        record_event(name="sent", payload={})
        record_event("done")
"""

# Mistakes that the types must find: a line of its own each, all of them told.
MISTYPED = """
    from pytest_test_observer import ClickHouseSpanExporter
    from pytest_test_observer.plugin import RecordEvent

    def test_checkout(record_event: RecordEvent) -> None:
        record_event("paid", {"order": 7})
        record_event(7, {})
        ClickHouseSpanExporter()
        ClickHouseSpanExporter("localhost", ssl=True)
"""


class Environment:
    """A virtual environment with the wheel and what it needs, and no more."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory, symlinks=True)
        self.python = directory / "bin" / "python"
        self.scripts = directory / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = directory / "lib" / version / "site-packages"

    def install(self, wheel: Path) -> None:
        """Install the wheel with pip, and link what it requires from the environment of the tests."""
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(self.python),
            "install",
            "--no-deps",
            "--no-index",
            "--quiet",
        ]
        subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
        for name in sorted(_requirements(NAME) - {NAME}):
            self._link(name)

    def run(self, *command: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python in the environment, and nothing else of this machine's."""
        environment = {"PATH": str(self.scripts), "HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache")}
        environment.update(env or {})
        return subprocess.run(
            [self.python, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )

    def _link(self, name: str) -> None:
        for file in distribution(name).files or []:
            top = self.packages / file.parts[0]
            if file.parts[0] != ".." and not top.exists() and file.parts[0] != "__pycache__":
                top.symlink_to(Path(str(distribution(name).locate_file(file.parts[0]))))


def _requirements(name: str) -> set[str]:
    """Return a distribution and all that it requires without extras, as far as it is installed."""
    found: set[str] = set()
    todo = [name]
    while todo:
        current = todo.pop()
        if current in found:
            continue
        found.add(current)
        for line in distribution(current).requires or []:
            requirement, _, condition = line.partition(";")
            if "extra ==" not in condition and (plain := _installed(requirement)):
                todo.append(plain)
    return found


def _installed(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    try:
        return re.sub(r"[-_.]+", "-", distribution(match[0]).name).lower()
    except ImportError:  # of another system or version of Python
        return ""


def _build(source: Path, into: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", *arguments, "-d", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _sdist(built: Path) -> Path:
    return next(built.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source distribution."""
    directory = tmp_path_factory.mktemp("dist")
    _build(ROOT, directory)
    return directory


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, without extras."""
    made = Environment(tmp_path_factory.mktemp("environment"))
    made.install(next(built.glob("*.whl")))
    return made


def test_the_wheel_has_all_modules_types_licence_and_entry_points(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
        text = {name.rpartition("/")[2]: wheel.read(name).decode() for name in names if ".dist-info/" in name}
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in (source / "pytest_test_observer").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert "pytest_test_observer/py.typed" in names
    page = {path.relative_to(source).as_posix() for path in source.rglob("_report/static/**/*") if path.is_file()}
    assert len(page) > 10
    assert page <= names
    assert "MIT" in text["LICENSE"]
    assert "[pytest11]\ntest_observer = pytest_test_observer.plugin" in text["entry_points.txt"]
    assert "[console_scripts]\npytest-observer = pytest_test_observer._cli:main" in text["entry_points.txt"]
    assert "Requires-Python: >=3.10" in text["METADATA"]
    tried = re.search(r"^PYTHONS = \[(.*)\]$", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert tried is not None
    told = re.findall(r"^Classifier: Programming Language :: Python :: (3\.\d+)$", text["METADATA"], re.MULTILINE)
    assert told == re.findall(r"3\.\d+", tried[1])


def test_the_source_distribution_has_all_that_the_repository_has(built: Path) -> None:
    """So what is distributed can be tested, documented and built anew, and nothing of a machine is in it."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a clone of the repository")
    files = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    with tarfile.open(_sdist(built)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == files | {"PKG-INFO"}


def test_the_source_distribution_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(_sdist(built)) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    _build(source, tmp_path / "dist", "-t", "wheel")
    (again,) = (tmp_path / "dist").iterdir()
    wheel = next(built.glob("*.whl"))
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_what_the_wheel_requires_is_all_that_is_there(environment: Environment) -> None:
    """The environment has what the metadata name, link by link: pip finds nothing missing and nothing in conflict."""
    pip = [sys.executable, "-m", "pip", "--python", str(environment.python), "--disable-pip-version-check"]
    done = subprocess.run([*pip, "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No broken requirements found" in done.stdout


def test_the_installed_plugin_sends_rows(
    environment: Environment,
    tmp_path: Path,
    clickhouse_server: ClickHouse,
    database: str,
    query: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    (tmp_path / "test_a.py").write_text("def test_ok(): pass\ndef test_bad(): assert 0\n")
    credentials = {
        "PYTEST_OBSERVER_CH_USER": clickhouse_server.user,
        "PYTEST_OBSERVER_CH_PASSWORD": clickhouse_server.password,
    }
    flags = (f"--ch-url={clickhouse_server.url}", f"--ch-db={database}", "--observer-exit-timeout=30")
    done = environment.run("-m", "pytest", *flags, cwd=tmp_path, env=credentials)
    assert "test-observer: 2 results sent" in done.stdout, done.stdout + done.stderr
    found = query("SELECT nodeid, status FROM pytest_results ORDER BY nodeid")
    assert found == [("test_a.py::test_bad", "failed"), ("test_a.py::test_ok", "passed")]


def test_what_is_public_has_types_that_a_strict_checker_accepts(environment: Environment, tmp_path: Path) -> None:
    """Both programs in one run of the checker: what takes the time is reading the SDK's types."""
    (tmp_path / "typed.py").write_text(dedent(TYPED))
    (tmp_path / "mistyped.py").write_text(dedent(MISTYPED))
    # The checker is not of the environment, what it reads is: only the wheel's own py.typed makes it look inside.
    checker = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    command = [*checker, "--python-executable", str(environment.python), "typed.py", "mistyped.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = re.findall(r"^(\w+)\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert told == [
        ("mistyped", "6", "dict-item"),
        ("mistyped", "7", "arg-type"),
        ("mistyped", "8", "call-arg"),
        ("mistyped", "9", "call-arg"),
    ], done.stdout + done.stderr


def test_without_a_destination_the_installed_plugin_does_nothing(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_ok(): pass\n")
    done = environment.run("-m", "pytest", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test-observer-" in done.stdout
    assert not (tmp_path / "cache").exists()


def test_without_its_extra_the_embedded_engine_is_named_as_missing(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_ok(): pass\n")
    done = environment.run("-m", "pytest", "--ch-url=chdb://observer.db", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept on disk - the embedded engine is not installed: pip install" in done.stdout


def test_the_console_script_is_installed(environment: Environment, tmp_path: Path) -> None:
    done = environment.run(str(environment.scripts / "pytest-observer"), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "replay" in done.stdout


def test_pinned_requirements_have_hashes_and_name_no_host() -> None:
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9-]+)==\S+.*?((?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+)", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^\S+==", text, re.MULTILINE))
    assert "://" not in text
    assert not re.search(r"^-|index-url|find-links", text, re.MULTILINE)
