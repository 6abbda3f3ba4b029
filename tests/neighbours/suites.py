"""What the suites beside each neighbour are made of."""

from __future__ import annotations

PLAIN = """
import pytest

@pytest.mark.telling
def test_good(record_property, record_event):
    record_property("ticket", "7")
    record_event("seen", {"a": "b"})
    print("said")

def test_bad(): assert 1 == 2
"""

HANGING = """
import time

@pytest.fixture
def hanging(): time.sleep(60)

def test_hanging(): time.sleep(60)

def test_hanging_setup(hanging): pass
"""

COUNTED = """
@pytest.mark.parametrize("n", range(5))
def test_number(n): pass
"""

WAITING = """
import asyncio, pytest, pytest_asyncio

pytestmark = pytest.mark.{mark}

@pytest_asyncio.fixture
async def bad():
    await asyncio.sleep(0)
    raise OSError("no fixture")

async def test_good(): await asyncio.sleep(0.01)

async def test_bad():
    await asyncio.sleep(0)
    assert 1 == 2

async def test_early(record_event):
    record_event("seen", {{"a": "b"}})

async def test_bad_fixture(bad): pass
"""

WAITING_TOO = """
import anyio, pytest

pytestmark = pytest.mark.anyio

@pytest.fixture(params=["asyncio"])
def anyio_backend(request): return request.param

@pytest.fixture
async def bad():
    await anyio.sleep(0)
    raise OSError("no fixture")

async def test_good(): await anyio.sleep(0.01)

async def test_bad():
    async with anyio.create_task_group() as group: group.start_soon(anyio.sleep, 0)
    assert 1 == 2

async def test_bad_fixture(bad): pass
"""

NETWORK = """
import socket
from pytest_socket import SocketBlockedError

def test_barred():
    with pytest.raises((SocketBlockedError, UserWarning)): socket.socket()

def test_connects(): socket.create_connection(("127.0.0.1", 9))
"""

SUBTESTS = """
import unittest

def test_one_fails(subtests):
    with subtests.test("one"): assert 0
    with subtests.test("two"): pass

def test_all_pass(subtests):
    with subtests.test("one"): pass

class TestUnit(unittest.TestCase):
    def test_unit(self):
        with self.subTest(i=1): self.fail("no")
"""

CLOCK = """
import datetime, time

def test_frozen():
    assert datetime.date.today().year == 2001
    assert time.gmtime(time.time()).tm_year == 2001
"""

FILES = """
import os

@pytest.fixture(scope="module")
def whole(fs_module):
    fs_module.create_file("/made/up", contents="yes")

def test_fake_good(fs):
    fs.create_file("/somewhere/else")
    assert os.listdir("/somewhere") == ["else"]

def test_fake_bad(fs): assert os.path.exists("/etc/passwd")

def test_whole_module(whole):
    with open("/made/up") as file: assert file.read() == "yes"
"""

FORKED = """
import os

def test_dies(): os._exit(3)

@pytest.fixture
def dying(): os._exit(3)

def test_dies_early(dying): pass

@pytest.fixture
def broken(): raise OSError("no fixture")

def test_broken(broken): pass
"""

HYPOTHESIS = """
from hypothesis import given, settings, strategies

@settings(derandomize=True, database=None, deadline=None)
@given(strategies.integers())
def test_property(n): assert n == n

@settings(derandomize=True, database=None, deadline=None)
@given(strategies.integers())
def test_falsified(n): assert n < 100
"""

ALLURE = """
import allure

@allure.title("A title")
@allure.severity("critical")
@allure.id("C7")
def test_labelled():
    with allure.step("a step"): pass
    allure.attach("text", "name", allure.attachment_type.TEXT)
"""

BDD = (
    """
from pytest_bdd import given, scenarios, then

scenarios("belly.feature")

@given("a cucumber", target_fixture="eaten")
def _(): return 1

@given("nothing", target_fixture="eaten")
def _(): return 0

@then("the belly is full")
def _(eaten): assert eaten
""",
    """\
Feature: Belly
  @telling
  Scenario: Eating
    Given a cucumber
    Then the belly is full

  Scenario: Starving
    Given nothing
    Then the belly is full
""",
)
