"""Where spans go: flags, then OpenTelemetry's variables, by its specification."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_test_observer._destinations.config import Destinations, destinations_of
from pytest_test_observer._destinations.otlp_environment import otlp_settings
from pytest_test_observer._settings import resolve_layers

if TYPE_CHECKING:
    from pytest_test_observer._destinations.settings import OtlpSettings

EXPORTER = "OTEL_EXPORTER_OTLP_"


def resolved(*, endpoint: str | None = None, protocol: str | None = None, **variables: str) -> OtlpSettings:
    """Return the settings of a command line and of variables, named without their common beginning."""
    given = resolve_layers({"otlp": "true", "otlp_endpoint": endpoint, "otlp_protocol": protocol}, {}, {})
    return otlp_settings(given, {EXPORTER + name: value for name, value in variables.items()})


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, "http://localhost:4317"),
        ({"protocol": "http/protobuf"}, "http://localhost:4318/v1/traces"),
        ({"PROTOCOL": "http/protobuf"}, "http://localhost:4318/v1/traces"),
        ({"PROTOCOL": "http/protobuf", "TRACES_PROTOCOL": "grpc"}, "http://localhost:4317"),
        ({"PROTOCOL": "http/protobuf", "protocol": "grpc"}, "http://localhost:4317"),
        ({"PROTOCOL": "http/protobuf", "ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        ({"PROTOCOL": "http/protobuf", "TRACES_ENDPOINT": "http://c:4318/own"}, "http://c:4318/own"),
        ({"ENDPOINT": "http://a:1", "TRACES_ENDPOINT": "http://b:2"}, "http://b:2"),
        ({"ENDPOINT": "http://a:1", "TRACES_ENDPOINT": " "}, "http://a:1"),
        ({"endpoint": "http://flag:9", "ENDPOINT": "http://a:1", "TRACES_ENDPOINT": "http://b:2"}, "http://flag:9"),
        ({"protocol": "http/protobuf", "endpoint": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"protocol": "http/protobuf", "endpoint": "http://c:4318/v1/traces"}, "http://c:4318/v1/traces"),
        ({"protocol": "http/protobuf", "endpoint": "https://vendor.example"}, "https://vendor.example/v1/traces"),
        ({"protocol": "http/protobuf", "endpoint": "c:4318"}, "http://c:4318/v1/traces"),
        ({"endpoint": "http://c"}, "http://c:4317"),
        ({"endpoint": "https://vendor.example"}, "https://vendor.example:443"),
        ({"endpoint": "c:4317"}, "c:4317"),
    ],
)
def test_endpoint(given: dict[str, Any], endpoint: str) -> None:
    settings = resolved(**given)
    assert (settings.endpoint, settings.problem) == (endpoint, "")


@pytest.mark.parametrize(
    ("given", "insecure"),
    [
        ({"endpoint": "http://c:1"}, True),
        ({"endpoint": "https://c:1", "INSECURE": "true"}, False),
        ({"endpoint": "c:1"}, False),
        ({"endpoint": "c:1", "INSECURE": "true"}, True),
        ({"endpoint": "c:1", "INSECURE": "true", "TRACES_INSECURE": "false"}, False),
    ],
)
def test_tls_follows_the_scheme_and_without_one_the_variable(given: dict[str, Any], insecure: bool) -> None:
    assert resolved(**given).insecure is insecure


def test_headers_are_pairs_percent_decoded() -> None:
    settings = resolved(HEADERS="X-Tenant = team%20a ,api-key=se=cr,et%2Cone=%C3%A4,x=", TRACES_HEADERS="")
    assert settings.headers == {"x-tenant": "team a", "api-key": "se=cr", "x": ""}


def test_headers_for_traces_replace_those_for_all_signals() -> None:
    assert resolved(HEADERS="a=1", TRACES_HEADERS="b=2").headers == {"b": "2"}


def test_a_malformed_header_is_told_but_not_shown() -> None:
    settings = resolved(HEADERS="Bearer s3cr3t-token,ok=1")
    assert settings.headers == {"ok": "1"}
    (note,) = settings.notes
    assert "OTEL_EXPORTER_OTLP_HEADERS" in note
    assert "s3cr3t" not in f"{note}{settings!r}"


@pytest.mark.parametrize("name", ["x-bin", "a!b", "~"])
def test_a_header_that_only_http_can_carry_is_left_out_for_grpc(name: str) -> None:
    assert resolved(protocol="http/protobuf", HEADERS=f"{name}=1,ok=2").headers == {name: "1", "ok": "2"}
    settings = resolved(protocol="grpc", HEADERS=f"{name}=1,ok=2")
    assert settings.headers == {"ok": "2"}
    assert len(settings.notes) == 1


def test_user_and_password_in_an_endpoint_become_a_header_and_leave_the_endpoint() -> None:
    for given in ({"endpoint": "http://me:p%40ss@c:4317"}, {"ENDPOINT": "http://me:p%40ss@c:4317"}):
        settings = resolved(**given)
        token = base64.b64encode(b"me:p@ss").decode()
        assert settings.headers == {"authorization": f"Basic {token}"}
        assert settings.endpoint == settings.label == "http://c:4317"
        assert token in settings.secrets
        assert "p@ss" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 10), ("2.5", 2.5), ("10000", 30), ("0", 10), ("-1", 10), ("soon", 10), ("nan", 10)]
)
def test_timeout_is_bounded(text: str, seconds: float) -> None:
    settings = resolved(TIMEOUT=text)
    assert settings.timeout_s == seconds
    assert bool(settings.notes) == (text in ("0", "-1", "soon", "nan"))


@pytest.mark.parametrize(
    ("text", "used", "noted"), [("gzip", "gzip", 0), ("GZIP", "gzip", 0), ("none", "none", 0), ("zip", "none", 1)]
)
def test_compression(text: str, used: str, noted: int) -> None:
    settings = resolved(COMPRESSION=text)
    assert (settings.compression, len(settings.notes)) == (used, noted)


def test_certificates_are_found_from_another_directory() -> None:
    settings = resolved(CERTIFICATE="ca.pem", TRACES_CLIENT_KEY="/k.pem", CLIENT_CERTIFICATE="c.pem")
    assert settings.certificate == os.path.abspath("ca.pem")
    assert (settings.client_key, settings.client_certificate) == ("/k.pem", os.path.abspath("c.pem"))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"PROTOCOL": "http/json"}, ("OTEL_EXPORTER_OTLP_PROTOCOL", "--otlp-protocol")),
        ({"TRACES_PROTOCOL": "x"}, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",)),
        ({"ENDPOINT": "ftp://user:hidden@c"}, ("OTEL_EXPORTER_OTLP_ENDPOINT",)),
    ],
)
def test_what_cannot_be_used_names_the_variable(given: dict[str, str], names: tuple[str, ...]) -> None:
    problem = resolved(**given).problem
    assert all(name in problem for name in names), problem
    assert "hidden" not in problem


def chosen(environ: dict[str, str], **given: str) -> Destinations:
    """Return the destinations that a command line and OpenTelemetry's variables give."""
    return destinations_of(resolve_layers(given, {}, {}), environ)


def test_with_both_ways_both_travel_to_the_helper() -> None:
    both = chosen({}, ch_url="localhost", ch_password="p4ssw0rd", otlp_endpoint="http://me:hidden@c:4317")
    assert both.label == "http://c:4317 or http://localhost:8123"
    assert {"p4ssw0rd"} < set(both.secrets)
    assert any(base64.b64encode(b"me:hidden").decode() in secret for secret in both.secrets)


@pytest.mark.parametrize(("text", "off"), [("true", True), ("TRUE", True), ("1", False), ("", False)])
def test_a_disabled_sdk_switches_this_way_off_and_no_other(text: str, off: bool) -> None:
    environ = {"OTEL_SDK_DISABLED": text}
    assert (chosen(environ, otlp="true").otlp is None) is off
    assert bool(chosen(environ, otlp="true")) is not off
    assert chosen(environ, otlp="true", ch_url="localhost").clickhouse is not None
