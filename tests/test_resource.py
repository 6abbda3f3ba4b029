"""What the user gives as resource attributes, and that it wins over what was detected."""

from __future__ import annotations

import logging

import msgspec
import pytest

from pytest_test_observer._columns import RESULTS
from pytest_test_observer._context import begin
from pytest_test_observer._context.resource import COLUMN_OF_ATTRIBUTE, given_attributes, given_facts
from pytest_test_observer._record import Context

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_RUN_ID": "77",
    "GITHUB_SHA": "abc",
    "GITHUB_REF_NAME": "main",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "org/repo",
}


def context(attributes: str, **more: str) -> Context:
    environ = {**GITHUB, "OTEL_RESOURCE_ATTRIBUTES": attributes, **more}
    return begin(environ, "/somewhere/root", run_id="run-1").result()


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        (" b = 2 , a=1 ", {"a": "1", "b": "2"}),
        ("a=1,a=2", {"a": "2"}),
        ("team=R%26D%2C%20tools,%3D=x%3Dy", {"team": "R&D, tools", "=": "x=y"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ("a=caf%C3%A9", {"a": "café"}),
        ("a=%", {"a": "%"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("a;b=1;meta", {"a;b": "1;meta"}),
        (",,=,nothing,=x,a=1,", {"a": "1"}),
    ],
)
def test_attributes_are_pairs_percent_decoded_and_anything_else_is_ignored(
    text: str, attributes: dict[str, str]
) -> None:
    assert given_attributes({"OTEL_RESOURCE_ATTRIBUTES": text}) == attributes


def test_what_is_malformed_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        given_attributes({"OTEL_RESOURCE_ATTRIBUTES": "secret-token,a=1"})
    assert not caplog.records


def test_attributes_are_sorted_by_name() -> None:
    assert list(given_attributes({"OTEL_RESOURCE_ATTRIBUTES": "z=1,a=2,m=3"})) == ["a", "m", "z"]


def test_every_column_of_the_context_has_an_attribute_that_sets_it_but_the_run_id() -> None:
    columns = {column.source for column in RESULTS.columns if column.scope == "context"}
    assert {column.source for column in COLUMN_OF_ATTRIBUTE.values()} == columns
    for attribute, column in COLUMN_OF_ATTRIBUTE.items():
        value = "7" if column.type == "UInt16" else "given"
        given = context(f"{attribute}={value}")
        detected = context("")
        changed = {
            field
            for field in Context.__struct_fields__
            if field != "resource" and getattr(given, field) != getattr(detected, field)
        }
        # The service is named after the repository where nothing else names it.
        expected = {"repository": {"repository", "service"}, "run_id": set[str]()}.get(column.source, {column.source})
        assert changed == expected


def test_a_given_branch_wins_over_the_ci_system_s() -> None:
    assert context("vcs.ref.head.name=release%2F1").git_branch == "release/1"


def test_the_run_id_is_not_taken_from_the_resource() -> None:
    given = context("pytest.run.id=stolen")
    assert given.run_id == "run-1"
    assert "pytest.run.id" not in given.resource


@pytest.mark.parametrize("value", ["", "two", "-1", "65536", "1.0", "9" * 5000])
def test_an_attempt_that_is_no_number_leaves_the_detected_one(value: str) -> None:
    given = context(f"pytest.ci.attempt={value}")
    assert given.ci_attempt == 2
    assert "pytest.ci.attempt" not in given.resource


def test_an_empty_value_does_not_erase_what_was_detected() -> None:
    given = context("vcs.ref.head.name=,service.name=,team=")
    assert (given.git_branch, given.service) == ("main", "repo")
    assert given.resource["team"] == ""
    assert "vcs.ref.head.name" not in given.resource


def test_the_service_is_named_by_otel_service_name_before_all() -> None:
    both = context("service.name=from-attributes", OTEL_SERVICE_NAME="from-name")
    assert both.service == both.resource["service.name"] == "from-name"
    assert context("service.name=from-attributes").service == "from-attributes"
    assert context("service.name=from-attributes", OTEL_SERVICE_NAME=" ").service == "from-attributes"
    assert context("").service == "repo"


def test_credentials_in_a_given_url_go_nowhere() -> None:
    given = context("vcs.repository.url.full=https%3A%2F%2Fada%3Asecret@example.com%2Fo%2Fr.git")
    assert given.repository == "https://example.com/o/r.git"
    assert "secret" not in msgspec.json.encode(given).decode()


def test_all_given_attributes_are_kept_beside_what_was_detected_and_has_no_column() -> None:
    resource = context("team=core,vcs.owner.name=me,vcs.ref.head.name=b").resource
    assert resource == {
        "cicd.pipeline.task.type": "test",
        "team": "core",
        "vcs.owner.name": "me",
        "vcs.provider.name": "github",
        "vcs.ref.head.name": "b",
        "vcs.repository.name": "repo",
    }
    assert list(resource) == sorted(resource)


def test_facts_have_the_types_of_the_context() -> None:
    facts = given_facts({"pytest.ci.attempt": "3", "vcs.change.id": "12"})
    assert facts == {"ci_attempt": 3, "change_id": "12"}
