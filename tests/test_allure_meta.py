"""What is read of Allure, in real runs of pytest, compared with the result files that Allure writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_test_observer._record import AllureMeta
from tests.beside import without_others

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("allure_pytest")

CONFTEST = """
    import json, sys
    import pytest
    from pytest_test_observer import _allure
    from pytest_test_observer._record import AllureMeta
    import msgspec

    def pytest_configure(config):
        config.addinivalue_line("markers", "smoke: x")
        config.reader = _allure.install(config)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        if call.when == "teardown":
            meta = item.config.reader.meta(item) if item.config.reader else AllureMeta()
            with open(item.config.rootpath / "metas.jsonl", "a") as file:
                file.write(json.dumps([item.nodeid, msgspec.to_builtins(meta)]) + "\\n")
        return report

    def pytest_unconfigure(config):
        with open(config.rootpath / "modules.json", "w") as file:
            json.dump(sorted(name for name in sys.modules if name.startswith("allure")), file)
"""

SUITE = """
    import allure
    import pytest

    pytestmark = [allure.epic("Epic"), allure.tag("module")]

    class Rude:
        def __str__(self):
            raise RuntimeError("no name")
        __repr__ = __str__

    @pytest.fixture
    def user():
        return "Ada"

    @pytest.fixture
    def early():
        allure.dynamic.tag("from-setup")
        allure.dynamic.title("From setup")
        yield
        allure.dynamic.label("layer", "from-teardown")

    def test_plain():
        pass

    @allure.title("Decorated")
    @allure.id(17)
    @allure.severity(allure.severity_level.CRITICAL)
    @allure.feature("F1", "F2")
    @allure.story("S")
    @allure.tag("a", "b")
    @allure.suite("Suite")
    @allure.label("owner", "ada")
    @allure.manual
    @allure.link("https://x.example/1")
    @allure.link("https://x.example/2", name="two")
    @allure.issue("ISSUE-1")
    @allure.testcase("https://tms.example/7", name="seven")
    @pytest.mark.smoke
    def test_decorated():
        pass

    @allure.title("{param_id}: {user} adds {a} and {b[0]}, {unknown} {{kept}}")
    @pytest.mark.parametrize("a, b", [(1, ["x"]), pytest.param("é", ["y"], id="naïve")])
    def test_parametrised(a, b, user):
        pass

    @allure.severity("trivial")
    @allure.feature("Outer")
    @allure.suite("Outer suite")
    class TestGroup:
        @allure.severity("blocker")
        @allure.suite("Inner suite")
        @allure.feature("Inner")
        @allure.title("In a class")
        def test_inner(self):
            pass

        def test_inherits(self):
            pass

    @allure.title("Static")
    @allure.severity("minor")
    @allure.link("https://x.example/static")
    def test_dynamic():
        allure.dynamic.title("Dynamic {not filled}")
        allure.dynamic.severity(allure.severity_level.BLOCKER)
        allure.dynamic.id(42)
        allure.dynamic.tag("t1", "t2")
        allure.dynamic.feature("DF")
        allure.dynamic.label("custom", 5)
        allure.dynamic.link("https://x.example/d")
        allure.dynamic.link("https://x.example/d", name="again")
        allure.dynamic.issue("ISSUE-2", name="two")
        allure.dynamic.testcase("TMS-1")

    def test_dynamic_in_fixtures(early):
        pass

    @allure.title("Failing {user}")
    def test_failing(user):
        allure.dynamic.label("seen", "before-failure")
        assert False

    @allure.title("Broken {user}")
    def test_broken_setup(user, missing_fixture):
        pass

    @allure.title("Skipped")
    @pytest.mark.skip
    def test_skipped():
        pass
"""

EPIC = {"epic": ["Epic"]}
EXPECTED = {
    "test_plain": AllureMeta(labels={**EPIC, "tag": ["module"]}),
    "test_decorated": AllureMeta(
        id="17",
        title="Decorated",
        severity="critical",
        labels={
            "ALLURE_MANUAL": ["true"],
            "as_id": ["17"],
            **EPIC,
            "feature": ["F1", "F2"],
            "owner": ["ada"],
            "severity": ["critical"],
            "story": ["S"],
            "suite": ["Suite"],
            "tag": ["a", "b", "module"],
        },
        links=[
            ("tms", "https://tms.example/7", "seven"),
            ("issue", "https://bugs.example/ISSUE-1", "https://bugs.example/ISSUE-1"),
            ("link", "https://x.example/2", "two"),
            ("link", "https://x.example/1", "https://x.example/1"),
        ],
    ),
    "test_parametrised[1-b0]": AllureMeta(
        title="1-b0: Ada adds 1 and x, {unknown} {kept}", labels={**EPIC, "tag": ["module"]}
    ),
    "test_parametrised[na\\xefve]": AllureMeta(
        title="naïve: Ada adds é and y, {unknown} {kept}", labels={**EPIC, "tag": ["module"]}
    ),
    "TestGroup::test_inner": AllureMeta(
        title="In a class",
        severity="blocker",
        labels={
            **EPIC,
            "feature": ["Inner", "Outer"],
            "severity": ["blocker"],
            "suite": ["Inner suite"],
            "tag": ["module"],
        },
    ),
    "TestGroup::test_inherits": AllureMeta(
        severity="trivial",
        labels={
            **EPIC,
            "feature": ["Outer"],
            "severity": ["trivial"],
            "suite": ["Outer suite"],
            "tag": ["module"],
        },
    ),
    "test_dynamic": AllureMeta(
        id="42",
        title="Dynamic {not filled}",
        severity="blocker",
        labels={
            "as_id": ["42"],
            "custom": ["5"],
            **EPIC,
            "feature": ["DF"],
            "severity": ["blocker", "minor"],
            "tag": ["t1", "t2", "module"],
        },
        links=[
            ("link", "https://x.example/d", "https://x.example/d"),
            ("issue", "https://bugs.example/ISSUE-2", "two"),
            ("tms", "TMS-1", "TMS-1"),
            ("link", "https://x.example/static", "https://x.example/static"),
        ],
    ),
    "test_dynamic_in_fixtures": AllureMeta(
        title="From setup",
        labels={**EPIC, "layer": ["from-teardown"], "tag": ["from-setup", "module"]},
    ),
    "test_failing": AllureMeta(title="Failing Ada", labels={**EPIC, "seen": ["before-failure"], "tag": ["module"]}),
    "test_broken_setup": AllureMeta(title="Broken Ada", labels={**EPIC, "tag": ["module"]}),
    "test_skipped": AllureMeta(title="Skipped", labels={**EPIC, "tag": ["module"]}),
}

Metas = dict[str, list[AllureMeta]]
Run = tuple["Path", Metas]


def run_pytest(directory: Path, suite: str, *arguments: str, autoload: bool = True) -> Metas:
    """Run a suite in a process of its own; return the metadata of each test's attempts."""
    directory.mkdir(exist_ok=True)
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    (directory / "test_it.py").write_text(textwrap.dedent(suite), encoding="utf-8")
    (directory / "metas.jsonl").write_text("")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    env.pop("PYTEST_ADDOPTS", None)
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "" if autoload else "1"
    flags = ("-q", "-p", "no:cacheprovider", *without_others(arguments, directory), *arguments)
    command = (sys.executable, "-m", "pytest", *flags)
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout
    metas: Metas = {}
    for line in (directory / "metas.jsonl").read_text().splitlines():
        nodeid, meta = json.loads(line)
        metas.setdefault(nodeid.partition("::")[2], []).append(msgspec.convert(meta, AllureMeta))
    return metas


LINK_PATTERN = "--allure-link-pattern=issue:https://bugs.example/{}"
MODES: dict[str, tuple[str, ...]] = {
    "without alluredir": (),
    "with alluredir": ("--alluredir=results",),
    "on a worker": ("--alluredir=results", "-n1"),
}


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("run")
    return directory, run_pytest(directory, SUITE, LINK_PATTERN, *MODES[request.param])


@pytest.mark.parametrize("test", EXPECTED)
def test_decorators_parameters_and_dynamic_calls_are_read(run: Run, test: str) -> None:
    assert run[1][test] == [EXPECTED[test]]


def test_maps_have_sorted_keys(run: Run) -> None:
    for metas in run[1].values():
        assert list(metas[0].labels) == sorted(metas[0].labels)


# What Allure adds by itself, and suites where no decorator names one.
OF_ALLURE = {"host", "thread", "framework", "language", "package", "parentSuite", "subSuite"}
OF_PYTEST = {"test_it", "smoke", "@pytest.mark.smoke", "@pytest.mark.skip"}  # the module, and markers as tags


def results_of_allure(directory: Path) -> dict[str, dict[str, Any]]:
    paths = (directory / "results").glob("*-result.json")
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return {result["name"]: result for result in results}


@pytest.mark.parametrize("run", [mode for mode, arguments in MODES.items() if arguments], indirect=True)
@pytest.mark.parametrize(
    "test", [test for test, meta in EXPECTED.items() if meta.title and test != "test_dynamic_in_fixtures"]
)
def test_the_same_stands_in_allure_s_own_result_files(run: Run, test: str) -> None:
    directory, metas = run
    meta = metas[test][0]
    result = results_of_allure(directory)[meta.title]
    labels: dict[str, set[str]] = {}
    for label in result["labels"]:
        value = label["value"]
        text = value if isinstance(value, str) else json.dumps(value)
        if label["name"] not in OF_ALLURE and text not in OF_PYTEST:
            labels.setdefault(label["name"], set()).add(text)
    assert {name: set(values) for name, values in meta.labels.items()} == labels
    first = next((label["value"] for label in result["labels"] if label["name"] == "severity"), "")
    assert meta.severity == first
    assert meta.links == [(link["type"], link["url"], link["name"]) for link in result.get("links", [])]


def test_each_attempt_has_its_own_dynamic_calls(tmp_path: Path) -> None:
    suite = """
        import allure
        attempts = []

        def test_flaky():
            attempts.append(1)
            allure.dynamic.tag(f"attempt-{len(attempts)}")
            if len(attempts) == 1:
                allure.dynamic.title("Only the first")
            assert len(attempts) == 2

        def test_next():
            pass
    """
    pytest.importorskip("pytest_rerunfailures")
    metas = run_pytest(tmp_path, suite, "--reruns=1", "-p", "no:randomly")
    assert [(meta.title, meta.labels) for meta in metas["test_flaky"]] == [
        ("Only the first", {"tag": ["attempt-1"]}),
        ("", {"tag": ["attempt-2"]}),
    ]
    assert metas["test_next"] == [AllureMeta()]


def test_a_title_shows_the_fixtures_as_they_were_when_the_test_began(tmp_path: Path) -> None:
    suite = """
        import allure, pytest

        @pytest.fixture
        def basket():
            allure.dynamic.title("Said before the decorator's title is filled in")
            basket = ["apple"]
            yield basket
            basket.clear()

        @allure.title("Basket of {basket[0]}")
        def test_one(basket):
            basket[0] = "pear"
    """
    metas = run_pytest(tmp_path, suite, "--alluredir=results")
    assert metas["test_one"] == [AllureMeta(title="Basket of apple")]
    assert list(results_of_allure(tmp_path)) == ["Basket of apple"]


def test_calls_outside_of_tests_belong_to_no_test(tmp_path: Path) -> None:
    suite = """
        import allure
        allure.dynamic.title("While collecting")
        allure.dynamic.tag("while-collecting")

        def test_one():
            pass
    """
    assert run_pytest(tmp_path, suite)["test_one"] == [AllureMeta()]


def test_dynamic_calls_of_other_threads_count(tmp_path: Path) -> None:
    suite = """
        import allure, threading

        def test_one():
            thread = threading.Thread(target=allure.dynamic.tag, args=("thread",))
            thread.start()
            thread.join()
    """
    assert run_pytest(tmp_path, suite)["test_one"] == [AllureMeta(labels={"tag": ["thread"]})]


RUDE = """
    import allure
    import pytest

    class Rude:
        def __str__(self):
            raise RuntimeError("no name")
        __repr__ = __format__ = __str__

    @pytest.mark.parametrize("x", [1])
    @allure.title(TITLE)
    def test_title(x):
        pass

    @pytest.mark.allure_label("no type")
    @pytest.mark.allure_label(label_type="no value")
    @pytest.mark.allure_link
    def test_marks_by_hand():
        pass

    def test_values():
        allure.dynamic.label(Rude(), None)
        allure.dynamic.tag(True)
        allure.dynamic.title(Rude())
        allure.dynamic.link("{0.x} {")
        allure.dynamic.issue("1")
        allure.dynamic.link(Rude(), name=Rude())
"""


TITLES = ["{x[0]}", "{x.nothing}", "{", "}", "{x!q}", "{x:%Y}", "{} {1}", "{x:{y}}", "a\udcffb"]
TITLED = """
    import allure, pytest

    def titled(title):
        @pytest.mark.parametrize("x", [1])
        @allure.title(title)
        def test(x):
            pass
        return test

    for number, title in enumerate(TITLES):
        globals()[f"test_{number}"] = titled(title)
"""


@pytest.fixture(scope="module")
def titled(tmp_path_factory: pytest.TempPathFactory) -> Metas:
    """One run of a test for each title."""
    return run_pytest(tmp_path_factory.mktemp("titled"), TITLED.replace("TITLES", ascii(TITLES)))


@pytest.mark.parametrize("title", TITLES)
def test_a_title_that_cannot_be_filled_in_stays_as_written_and_breaks_no_test(titled: Metas, title: str) -> None:
    assert titled[f"test_{TITLES.index(title)}[1]"] == [AllureMeta(title=title)]


def test_values_of_any_kind_break_no_test(tmp_path: Path) -> None:
    metas = run_pytest(tmp_path, RUDE.replace("TITLE", "Rude()"), "--allure-link-pattern=issue:{nobody}")
    assert metas["test_title[1]"] == [AllureMeta(title="Rude")]
    assert metas["test_marks_by_hand"] == [AllureMeta()]
    assert metas["test_values"] == [
        AllureMeta(
            title="Rude",
            labels={"Rude": [""], "tag": ["true"]},
            links=[("link", "{0.x} {", "{0.x} {"), ("issue", "1", "1"), ("link", "Rude", "Rude")],
        )
    ]


def test_no_test_fails_on_account_of_what_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "rude"
    suite = RUDE.replace("TITLE", "'{'")
    run_pytest(directory, suite)
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-W",
        "error",
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


PLAIN = """
    def test_one():
        pass
"""


@pytest.mark.parametrize(
    ("arguments", "autoload"),
    [(("-p", "no:allure_pytest"), True), ((), False)],
    ids=["blocked", "not loaded"],
)
def test_without_allure_pytest_nothing_of_it_is_imported(
    tmp_path: Path, arguments: tuple[str, ...], autoload: bool
) -> None:
    metas = run_pytest(tmp_path, PLAIN, *arguments, autoload=autoload)
    assert metas["test_one"] == [AllureMeta()]
    assert json.loads((tmp_path / "modules.json").read_text()) == []


@pytest.mark.parametrize("name", ["allure_pytest", "allure_pytest.plugin"])
def test_allure_pytest_loaded_by_name_is_found(tmp_path: Path, name: str) -> None:
    suite = """
        import allure

        def test_one():
            allure.dynamic.title("Dynamic")
    """
    assert run_pytest(tmp_path, suite, "-p", name, autoload=False)["test_one"][0].title == "Dynamic"


def test_repeated_runs_in_one_process_leave_no_listener_behind(tmp_path: Path) -> None:
    run_pytest(tmp_path, PLAIN)
    program = (
        "import pytest, allure_commons\n"
        "for _ in range(2): assert pytest.main(['-q', '-p', 'no:cacheprovider']) == 0\n"
        "names = [type(plugin).__name__ for plugin in allure_commons.plugin_manager.get_plugins()]\n"
        "assert 'AllureReader' not in names, names\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run((sys.executable, "-c", program), cwd=tmp_path, env=env, check=True)


OTHER_ALLURE = """
    import allure_commons, pluggy

    manager = allure_commons.plugin_manager.get_plugin_manager()
    register = manager.register

    def refuse(plugin, name=None):
        if type(plugin).__name__ == "AllureReader":
            raise pluggy.PluginValidationError(plugin, "hook not found")
        return register(plugin, name)

    manager.register = refuse
"""


def test_an_allure_with_other_hooks_still_has_its_decorators_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other_allure.py").write_text(textwrap.dedent(OTHER_ALLURE))
    monkeypatch.syspath_prepend(tmp_path)
    suite = """
        import allure

        @allure.tag("static")
        def test_one():
            pass
    """
    metas = run_pytest(tmp_path / "run", suite, "-p", "other_allure")
    assert metas["test_one"] == [AllureMeta(labels={"tag": ["static"]})]
