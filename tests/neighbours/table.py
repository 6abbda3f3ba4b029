"""The table of neighbours: what each is asked to do, and the rows that must come of it.

Every suite has a test that passes and one that fails, beside what its neighbour is for.
"""

from __future__ import annotations

from typing import NamedTuple

from .suites import (
    ALLURE,
    BDD,
    CLOCK,
    COUNTED,
    FILES,
    FORKED,
    HANGING,
    HYPOTHESIS,
    NETWORK,
    PLAIN,
    SUBTESTS,
    WAITING,
    WAITING_TOO,
)


class Neighbour(NamedTuple):
    """One neighbour and its suite."""

    package: str
    """What must be installed, as in ``pip install``."""
    plugin: str
    """Its module, as in ``pytest -p``; empty for a library that is no plugin."""
    suite: dict[str, str]
    """Files by name."""
    rows: dict[str, str]
    """The last part of each node id, and the outcomes of its attempts: ``rerun passed``, ``error:setup``."""
    flags: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    """Files that it writes and that must be the same, but for times."""
    also: tuple[str, ...] = ()
    """Plugins that it needs beside its own."""
    dies: bool = False
    """The neighbour ends the process that runs the tests: if that is pytest, nothing of ours is printed."""
    with_workers: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    """Rows that differ under pytest-xdist, where a worker that died is replaced."""
    only_below: int = 0
    """Major version of pytest from which there is no such neighbour: it is built in, or does not work any more."""


BOTH = {"test_good": "passed", "test_bad": "failed"}

NEIGHBOURS = {
    "timeout-signal": Neighbour(
        "pytest-timeout",
        "pytest_timeout",
        {"test_a.py": PLAIN + HANGING},
        {**BOTH, "test_hanging": "failed", "test_hanging_setup": "error:setup"},
        ("--timeout=0.3", "--timeout-method=signal"),
    ),
    "timeout-thread": Neighbour(
        "pytest-timeout",
        "pytest_timeout",
        {"test_a.py": PLAIN + HANGING},
        {**BOTH, "test_hanging": "crashed"},
        ("--timeout=0.3", "--timeout-method=thread"),
        dies=True,
        with_workers={"test_hanging_setup": "crashed:setup"},
    ),
    "randomly": Neighbour(
        "pytest-randomly",
        "pytest_randomly",
        {"test_a.py": PLAIN + COUNTED + "import random\ndef test_drawn(): assert random.random() == 1\n"},
        {**BOTH, "test_drawn": "failed", **{f"test_number[{n}]": "passed" for n in range(5)}},
        ("--randomly-seed=7",),
    ),
    "split": Neighbour(
        "pytest-split",
        "pytest_split.plugin",
        {"test_a.py": PLAIN + COUNTED},
        {**BOTH, "test_number[0]": "passed", "test_number[1]": "passed"},
        ("--splits=2", "--group=1"),
    ),
    "asyncio": Neighbour(
        "pytest-asyncio",
        "pytest_asyncio.plugin",
        {"test_a.py": WAITING.format(mark="asyncio")},
        {**BOTH, "test_early": "passed", "test_bad_fixture": "error:setup"},
        ("-o", "asyncio_default_fixture_loop_scope=function"),
    ),
    "anyio": Neighbour(
        "anyio",
        "anyio.pytest_plugin",
        {"test_a.py": WAITING_TOO},
        {"test_good[asyncio]": "passed", "test_bad[asyncio]": "failed", "test_bad_fixture[asyncio]": "error:setup"},
    ),
    "socket": Neighbour(
        "pytest-socket",
        "pytest_socket",
        {"test_a.py": PLAIN + NETWORK},
        {**BOTH, "test_barred": "passed", "test_connects": "failed"},
        ("--disable-socket",),
    ),
    "cov": Neighbour(
        "pytest-cov",
        "pytest_cov.plugin",
        {
            "test_a.py": PLAIN + COUNTED,
            "pyproject.toml": "[tool.coverage.run]\npatch = ['subprocess']\nbranch = true\n",
        },
        {**BOTH, **{f"test_number[{n}]": "passed" for n in range(5)}},
        ("--cov=.", "--cov-report=term-missing", "--cov-report=json:coverage.json"),
        reports=("coverage.json",),
    ),
    "rerunfailures": Neighbour(
        "pytest-rerunfailures",
        "pytest_rerunfailures",
        {"test_a.py": PLAIN + "TIMES = []\ndef test_flaky():\n    TIMES.append(1)\n    assert len(TIMES) == 2\n"},
        {"test_good": "passed", "test_bad": "rerun rerun failed", "test_flaky": "rerun passed"},
        ("--reruns=2",),
    ),
    "subtests": Neighbour(
        "pytest-subtests",
        "pytest_subtests.plugin",
        {"test_a.py": PLAIN + SUBTESTS},
        {**BOTH, "test_one_fails": "failed", "test_all_pass": "passed", "test_unit": "failed"},
        only_below=9,
    ),
    "forked": Neighbour(
        "pytest-forked",
        "pytest_forked",
        {"test_a.py": PLAIN + FORKED},
        {**BOTH, "test_dies": "crashed", "test_dies_early": "crashed:setup", "test_broken": "error:setup"},
        # it leaves files open, and so fails without us where warnings of that are errors
        ("--forked", "-Wdefault::ResourceWarning", "-Wdefault::pytest.PytestUnraisableExceptionWarning"),
        only_below=9,  # every test fails there, without us too: its reports cannot be marshalled
    ),
    "freezegun": Neighbour(
        "freezegun",
        "",
        {
            "conftest.py": "import freezegun\nfreezer = freezegun.freeze_time('2001-02-03')\nfreezer.start()\n",
            "test_a.py": PLAIN + CLOCK,
        },
        {**BOTH, "test_frozen": "passed"},
    ),
    "pyfakefs": Neighbour(
        "pyfakefs",
        "pyfakefs.pytest_plugin",
        {"test_a.py": PLAIN + FILES},
        {**BOTH, "test_fake_good": "passed", "test_fake_bad": "failed", "test_whole_module": "passed"},
    ),
    "hypothesis": Neighbour(
        "hypothesis",
        "_hypothesis_pytestplugin",
        {"test_a.py": PLAIN + HYPOTHESIS},
        {**BOTH, "test_property": "passed", "test_falsified": "failed"},
    ),
    "html": Neighbour(
        "pytest-html",
        "pytest_html.plugin",
        {"test_a.py": PLAIN + COUNTED},
        {**BOTH, **{f"test_number[{n}]": "passed" for n in range(5)}},
        ("--html=report.html", "--self-contained-html"),
        reports=("report.html",),
        also=("pytest_metadata.plugin",),
    ),
    "json-report": Neighbour(
        "pytest-json-report",
        "pytest_jsonreport.plugin",
        {"test_a.py": PLAIN + COUNTED},
        {**BOTH, **{f"test_number[{n}]": "passed" for n in range(5)}},
        ("--json-report", "--json-report-file=report.json", "--json-report-indent=1"),
        reports=("report.json",),
        also=("pytest_metadata.plugin",),
    ),
    "allure": Neighbour(
        "allure-pytest",
        "allure_pytest.plugin",
        {"test_a.py": PLAIN + ALLURE},
        {**BOTH, "test_labelled": "passed"},
        ("--alluredir=allure",),
        reports=("allure/*-result.json",),
    ),
    "bdd": Neighbour(
        "pytest-bdd",
        "pytest_bdd.plugin",
        {"test_a.py": PLAIN + BDD[0], "belly.feature": BDD[1]},
        {**BOTH, "test_eating": "passed", "test_starving": "failed"},
    ),
}
