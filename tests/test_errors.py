"""What rows say of errors, skips and files that cannot be collected."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pytest_test_observer._text import Cover
from tests.verdict_kit import FAILED, PASSED, Finished, finished, observed_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit import Observed
    from tests.servers.client import ClickHouse

ERROR = ("broken", "error", "collect", 1, False)

SUITE = """
    import unittest

    import pytest

    class OwnError(Exception): pass

    @pytest.fixture
    def skipping(): pytest.skip("no such device")
    @pytest.fixture(scope="session")
    def bad_session():
        yield
        raise OSError("the session went wrong")

    def test_assert(): assert 1 == 2, "not the same"
    def test_own(): raise OwnError("of ours")
    def test_lookup(no_such_fixture): pass
    def test_fail(): pytest.fail("by hand")
    @pytest.mark.xfail(strict=True, reason="bug 7")
    def test_strict(): pass
    @pytest.mark.skip(reason="by mark")
    def test_skip_mark(): pass
    def test_skip_setup(skipping): pass
    def test_skip_body(): pytest.skip("in the body")
    @pytest.mark.xfail(reason="bug 8")
    def test_xfail(): assert 0
    @pytest.mark.xfail
    def test_xfail_without_reason(): assert 0
    def test_xfail_imperative(): pytest.xfail("known")
    def test_odd(): raise ValueError("\\udc80 \\0 \\N{SNOWMAN}")
    def test_long(): raise ValueError("x" * 400_000)
    class TestCase(unittest.TestCase):
        def test_assert_equal(self): self.assertEqual(1, 2)
        def test_raising(self): raise OwnError("of a case")
        def test_skip_first(self):
            with self.subTest(): self.skipTest("no such device")
            raise OwnError("after a skip")
    def test_passed(bad_session): pass
"""

DOCTESTS = '''
    def good():
        """
        >>> good()
        1
        """
        return 1

    def bad():
        """
        >>> 1 + 1
        3
        """

    def dividing():
        """
        >>> 1 / 0
        """
'''


@pytest.fixture(scope="module")
def errors_run(tmp_path_factory: pytest.TempPathFactory, clickhouse_server: ClickHouse) -> Iterator[Finished]:
    """A suite of all that can be said."""
    with observed_in(tmp_path_factory.mktemp("errors"), clickhouse_server) as observed:
        observed.bench.write(test_errors=SUITE, documented=DOCTESTS, notes_txt=">>> 1 + 1\n2\n")
        flags = ("--doctest-modules", "--doctest-glob=*.txt")
        yield finished(observed, observed.run(*flags, errors="replace"))  # pytest prints surrogates as bytes


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("test_assert", "AssertionError", "not the same\nassert 1 == 2"),
        ("test_own", "test_errors.OwnError", "of ours"),
        ("test_fail", "Failed", "by hand"),
        ("test_strict", "Failed", "[XPASS(strict)] bug 7"),
        ("test_odd", "ValueError", "\\udc80 \0 \N{SNOWMAN}"),
        ("test_passed", "OSError", "the session went wrong"),
        ("test_assert_equal", "AssertionError", "1 != 2"),
        ("test_raising", "test_errors.OwnError", "of a case"),
        ("test_skip_first", "test_errors.OwnError", "after a skip"),
        ("documented.bad", "doctest.DocTestFailure", "Expected:\n    3\nGot:\n    2"),
        ("documented.dividing", "doctest.UnexpectedException", "ZeroDivisionError('division by zero')"),
    ],
)
def test_an_error_has_its_type_and_its_message(errors_run: Finished, name: str, error_type: str, message: str) -> None:
    row = errors_run.one(name)
    assert (row["error_type"].removeprefix("_pytest.outcomes."), row["error_message"]) == (
        error_type,
        message,
    )


def test_a_fixture_that_is_not_there_is_named(errors_run: Finished) -> None:
    row = errors_run.one("test_lookup")
    assert row["error_type"].endswith("FixtureLookupError")
    assert row["error_message"] == "fixture 'no_such_fixture' not found"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_skip_mark", "by mark"),
        ("test_skip_setup", "no such device"),
        ("test_skip_body", "in the body"),
        ("test_xfail", "bug 8"),
        ("test_xfail_without_reason", ""),
        ("test_xfail_imperative", "known"),
    ],
)
def test_a_skip_and_an_expected_failure_say_why(errors_run: Finished, name: str, reason: str) -> None:
    row = errors_run.one(name)
    assert (row["status"], row["error_message"], row["error_type"]) == ("skipped", reason, "")
    assert row["error_stacktrace"] == ""


def test_long_texts_are_capped_visibly(errors_run: Finished) -> None:
    row = errors_run.one("test_long")
    assert 64_000 < len(row["error_message"]) <= 64 * 1024
    assert 64_000 < len(row["error_stacktrace"]) <= 256 * 1024
    for text in (row["error_message"], row["error_stacktrace"]):
        assert "bytes left out by pytest-test-observer" in text


def test_doctests_of_modules_and_text_files_are_tests(errors_run: Finished) -> None:
    names = ("documented.good", "documented.bad", "documented.dividing", "notes.txt")
    assert [errors_run.verdicts[name] for name in names] == [[PASSED], [FAILED], [FAILED], [PASSED]]
    row = errors_run.one("documented.bad")
    assert (row["file"], row["line"], row["function"]) == ("documented.py", 10, "documented.bad")


@pytest.mark.parametrize("flags", [(), ("-n2",)], ids=["serial", "xdist"])
def test_a_file_that_cannot_be_collected_has_one_row(observed: Observed, flags: tuple[str, ...]) -> None:
    observed.bench.write(
        test_import="import no_such_module_at_all\n",
        test_syntax="def (:\n",
        test_zero="1 / 0\n",
        test_skip="import pytest\npytest.skip('all of it', allow_module_level=True)\n",
        test_lacking="import pytest\npytest.importorskip('no_such_module_at_all')\n",
        test_good="def test_good(): pass\n",
    )
    done = finished(observed, observed.run("--continue-on-collection-errors", *flags))
    assert done.verdicts == {
        "test_import.py": [ERROR],
        "test_syntax.py": [ERROR],
        "test_zero.py": [ERROR],
        "test_good": [PASSED],
    }
    said = {row["nodeid"]: (row["error_type"], row["error_message"], row["file"]) for row in done.rows}
    missing = "No module named 'no_such_module_at_all'"
    assert said["test_import.py"] == ("ModuleNotFoundError", missing, "test_import.py")
    assert said["test_syntax.py"] == ("SyntaxError", "invalid syntax", "test_syntax.py")
    assert said["test_zero.py"] == ("ZeroDivisionError", "division by zero", "test_zero.py")
    assert (done.session["collected"], done.session["not_run"], done.session["broken"]) == (1, 0, 3)


def test_what_a_collection_error_keeps_from_running_counts_as_not_run(observed: Observed) -> None:
    observed.bench.write(test_zero="1 / 0\n", test_good="def test_good(): pass\n")
    done = finished(observed, observed.run())
    assert done.verdicts == {"test_zero.py": [ERROR]}
    assert (done.session["status"], done.session["not_run"]) == ("aborted", 1)


@pytest.mark.parametrize("kept", ["message", "none"])
def test_no_more_of_an_error_leaves_the_machine_than_is_asked_for(observed: Observed, kept: str) -> None:
    observed.bench.write(test_a="def test_bad(): raise ValueError('secret')\n", test_b="1 / 0\n")
    flags = ("--continue-on-collection-errors", f"--observer-errors={kept}")
    done = finished(observed, observed.run(*flags))
    wanted = {"message": ["secret", "division by zero"], "none": ["", ""]}[kept]
    assert [row["error_message"] for row in done.rows] == wanted
    assert {row["error_stacktrace"] for row in done.rows} == {""}


def test_the_plugins_own_password_is_in_no_error_text(observed: Observed) -> None:
    text = "import os\ndef test_a(): assert os.environ['PYTEST_OBSERVER_CH_PASSWORD'] == 'x'\n"
    observed.bench.write(test_a=text)
    observed.run("-l")
    [row] = observed.rows("error_message, error_stacktrace")
    assert observed.server.password not in row["error_message"] + row["error_stacktrace"]
    assert "***" in row["error_message"]


def test_a_long_text_is_cut_without_leaving_a_part_of_a_password(observed: Observed) -> None:
    observed.bench.write(
        test_a="""
        import os
        import pytest

        @pytest.mark.parametrize("before", range(49_000, 49_200, 6))
        def test_a(before):
            secret = os.environ["PYTEST_OBSERVER_CH_PASSWORD"]
            raise ValueError("x" * before + secret + "y" * 100_000)
        """
    )
    observed.run("--tb=short")
    rows = observed.rows("error_message, error_stacktrace")
    beginning = observed.server.password[: len(observed.server.password) // 2]
    assert len(rows) > 30
    assert not [row for row in rows for text in row.values() if beginning in text]
    assert [row for row in rows if "***" in row["error_message"]]


SECRET = "CORRECT#HORSE"
LIMIT = 1000


@pytest.mark.parametrize("size", [1500, 9000])
def test_no_cut_shows_a_part_of_a_secret(size: int) -> None:
    cover = Cover([SECRET])
    for at in range(size - len(SECRET)):
        text = cover("-" * at + SECRET + "-" * (size - len(SECRET) - at), LIMIT)
        assert len(text) <= LIMIT
        assert not set(text) & set(SECRET), at


def test_a_text_of_nothing_but_secrets_says_what_it_lost() -> None:
    text = Cover([SECRET])("\N{SNOWMAN}" + SECRET * 100_000, LIMIT)
    assert "HORSE" not in text
    assert "1299001 or more bytes left out" in text


def test_a_huge_text_costs_no_more_than_a_long_one() -> None:
    huge = "x" * 100_000_000
    begin = time.process_time()
    text = Cover([f"secret-{number}" for number in range(20)])(huge, LIMIT)
    assert time.process_time() - begin < 0.1
    assert "xx" in text
