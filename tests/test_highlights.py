"""What ``pytest -v`` tells of a run beside the one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit import Observed

SUITE = """
    import pytest, time
    seen = []

    @pytest.mark.flaky(reruns=1)
    def test_flaky():
        seen.append(1)
        assert len(seen) > 1

    @pytest.mark.parametrize("n", range(12))
    def test_quick(n):
        pass

    def test_slow():
        time.sleep(0.05)
"""


def test_verbose_tells_the_flaky_and_the_ten_slowest(observed: Observed) -> None:
    observed.bench.write(test_it=SUITE)
    done = observed.run("-v", "-p", "rerunfailures")
    told = done.stdout.partition("Flaky tests of this run:\n")[2].splitlines()
    assert told[0] == "  test_it.py::test_flaky (attempt 2 passed)"
    assert told[1] == "Slowest tests of this run (setup, call and teardown):"
    assert told[2].endswith(" s  test_it.py::test_slow")
    assert told[12].startswith("test-observer: 15 results sent")
    assert done.summary == told[12]


def test_without_v_there_is_the_one_line(observed: Observed) -> None:
    observed.bench.write(test_it=SUITE)
    done = observed.run("-p", "rerunfailures")
    assert "of this run" not in done.stdout
    assert done.summary
