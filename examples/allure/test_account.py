from __future__ import annotations

import itertools
import time

import allure
import pytest

_mails = itertools.count(1)

pytestmark = [allure.epic("Shop"), allure.feature("Account")]


@allure.title("Sign in as {user}")
@allure.severity(allure.severity_level.BLOCKER)
@allure.story("Sign in")
@allure.link("https://shop.example/docs/sign-in", name="how signing in works")
@pytest.mark.parametrize("user", ["ada", "grace"])
def test_sign_in(user):
    assert user.isalpha()


@allure.title("A wrong password is refused")
@allure.severity(allure.severity_level.CRITICAL)
@allure.story("Sign in")
@allure.id("1042")
def test_wrong_password(record_event):
    record_event("sign_in.refused", {"user": "ada", "reason": "password"})


@allure.title("The mail with the new password arrives")
@allure.story("Forgotten password")
@allure.issue("https://shop.example/issues/77", name="SHOP-77")
def test_forgotten_password():
    # Flaky: the first mail of the day is late.
    assert next(_mails) > 1, "no mail within 10 s"


@allure.severity(allure.severity_level.MINOR)
@allure.story("Profile")
@allure.issue("https://shop.example/issues/91", name="SHOP-91")
def test_name_may_be_long():
    allure.dynamic.title("A name of 300 letters is accepted")
    allure.dynamic.label("layer", "database")
    # Fails: the column has 255.
    assert len(("x" * 300)[:255]) == 300


@allure.story("Profile")
def test_picture_is_scaled():
    time.sleep(0.3)  # what scaling takes


@allure.story("Profile")
@pytest.mark.skip(reason="pictures of pets come later")
def test_picture_of_a_pet():
    raise NotImplementedError
