"""What is shipped: wheel and source distribution, and the wheel in an environment without extras."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = "pytest-test-observer"


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

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python in the environment, and nothing else of this machine's."""
        environment = {"PATH": str(self.scripts), "HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache")}
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the source distribution."""
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
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


def test_the_source_distribution_can_be_tested(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "Makefile",
        "requirements-dev.txt",
        "tests/kit.py",
    } <= names
    assert not any(name.startswith((".venv", ".demo", ".git/")) for name in names)


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
