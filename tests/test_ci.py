"""What CI asks of the tests themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUITE = """
import pytest

def test_wanting(): pytest.skip("needs Go")

@pytest.mark.skipif(True, reason="needs Chromium")
def test_wanting_by_mark(): pass

def test_import(): pytest.importorskip("no_such_module")

@pytest.mark.skipif(True, reason="another system")
def test_does_not_apply(): pass

@pytest.mark.xfail(reason="needs thought")
def test_expected(): assert False
"""


def _outcomes(directory: Path, *arguments: str) -> str:
    (directory / "test_suite.py").write_text(SUITE, encoding="utf-8")
    (directory / "test_file.py").write_text("import pytest\npytest.importorskip('no_such_module')\n", encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    common = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    command = [*common, "--rootdir", str(directory), "-c", str(directory / "pytest.ini"), *arguments]
    done = subprocess.run([*command, str(directory)], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1].rpartition(" in ")[0]


def test_what_could_have_been_installed_may_be_missing_on_a_developers_machine(tmp_path: Path) -> None:
    assert _outcomes(tmp_path) == "5 skipped, 1 xfailed"


def test_what_could_have_been_installed_must_not_be_missing_in_ci(tmp_path: Path) -> None:
    arguments = ("-p", "tests.required", "--continue-on-collection-errors")
    assert _outcomes(tmp_path, *arguments) == "2 failed, 1 skipped, 1 xfailed, 2 errors"


def test_ci_runs_what_the_readme_tells_developers_to_run() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.splitlines()[-1].startswith("make --no-print-directory check ")
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def test_ci_builds_the_site_and_takes_warnings_for_errors() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^check:.*\bsite\b", makefile, re.MULTILINE)
    assert re.search(r"^\t.*sphinx-build.*--fresh-env --fail-on-warning.*--nitpicky", makefile, re.MULTILINE)
