"""What URLs name, and what of them may be shown."""

from __future__ import annotations

import os

import pytest

from pytest_test_observer import _settings
from pytest_test_observer._target import (
    ClickHouseTarget,
    OtlpEndpoint,
    credentials,
    parse_clickhouse,
    parse_otlp,
    redact,
)

SERVERS = {
    "localhost": ("localhost", 8123, False, ""),
    "localhost:9123": ("localhost", 9123, False, ""),
    "localhost:8123/prefix": ("localhost", 8123, False, "/prefix"),
    "host_of_compose:8123": ("host_of_compose", 8123, False, ""),
    "10.0.0.1": ("10.0.0.1", 8123, False, ""),
    "[::1]": ("::1", 8123, False, ""),
    "[::1]:9123": ("::1", 9123, False, ""),
    "::1": ("::1", 8123, False, ""),
    "fe80::1:8123": ("fe80::1:8123", 8123, False, ""),
    "[fe80::1%25eth0]:8123": ("fe80::1%eth0", 8123, False, ""),
    "http://host": ("host", 8123, False, ""),
    "HTTP://host:80/": ("host", 80, False, ""),
    "https://host": ("host", 8443, True, ""),
    "https://host:443/a/b/": ("host", 443, True, "/a/b"),
    "https://[2001:db8::2]": ("2001:db8::2", 8443, True, ""),
    "http://bücher.example:8123": ("bücher.example", 8123, False, ""),
}


@pytest.mark.parametrize("text", SERVERS)
def test_every_documented_form_of_a_server_is_understood(text: str) -> None:
    target = parse_clickhouse(text)
    assert (target.host, target.port, target.tls, target.url_path) == SERVERS[text]
    assert (target.embedded, target.path, target.user, target.password) == (False, "", None, None)


@pytest.mark.parametrize("text", [*SERVERS, "chdb://memory", "chdb:///a b/c#d", "http://u:p@host:1/x"])
def test_the_label_is_a_url_that_leads_to_the_same_place(text: str) -> None:
    target = parse_clickhouse(text)
    assert parse_clickhouse(target.label) == target._replace(user=None, password=None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("chdb:///var/lib/observer.db", "/var/lib/observer.db"),
        ("chdb:///home/me@corp/my project/x#1", "/home/me@corp/my project/x#1"),
        ("CHDB:///a/../b/", "/b"),
        ("chdb://relative/path", "/base/relative/path"),
        ("chdb://../up", "/up"),
        ("chdb://memory", ":memory:"),
        ("chdb://memory/of/tests", "/base/memory/of/tests"),
    ],
)
def test_an_embedded_database_is_a_directory_relative_to_the_base(text: str, path: str) -> None:
    target = parse_clickhouse(text, "/base")
    assert target == ClickHouseTarget(embedded=True, path=path)


def test_a_relative_path_starts_at_the_working_directory_unless_told_otherwise() -> None:
    assert parse_clickhouse("chdb://x").path == os.path.join(os.getcwd(), "x")


@pytest.mark.parametrize(
    ("userinfo", "user", "password"),
    [
        ("me:secret", "me", "secret"),
        ("me", "me", None),
        ("me:", "me", ""),
        (":secret", None, "secret"),
        ("", None, None),
        ("m%40e:p%2Fa%23s%3As%C3%A9", "m@e", "p/a#s:sé"),
        ("me:p@ss:word", "me", "p@ss:word"),
    ],
)
def test_user_and_password_of_a_url_are_taken_decoded(userinfo: str, user: str | None, password: str | None) -> None:
    for text in (f"http://{userinfo}@host", f"{userinfo}@host:8123"):
        target = parse_clickhouse(text)
        assert (target.host, target.user, target.password) == ("host", user, password)


BAD = {
    "http://:8123": "no host",
    "http://": "no host",
    ":8123": "no host",
    "http://me:hunter2@": "no host",
    "http://me:hunter2@:8123": "no host",
    "host:0": "port",
    "host:65536": "port",
    "host:": "port",
    "host:http": "port",
    "host:٣": "port",
    "http://me:hun/ter2@host": "%2F",
    "http://me:hun#ter2@host": "%23",
    "http://me:hun?ter2@host": "%3F",
    "http://me:12/hunter2@host": "%2F",
    "http://me:hunter2": "port",
    "http://host?user=me&password=hunter2": "query",
    "http://host:8123/#hunter2": "fragment",
    "http://me:hunter2%ff@host": "UTF-8",
    "http://me:hunter 2@host": "whitespace",
    "http://host\n": "whitespace",
    "http://ho\x00st": "control",
    "http://${HOST}:8123": "host name",
    "http://a..b": "host name",
    "http://back\\slash": "host name",
    "[::1": "IPv6",
    "[::1]8123": "IPv6",
    "[host]:8123": "IPv6",
    "1:2:hunter2": "IPv6",
    "clickhouse://me:hunter2@host": "scheme",
    "postgres://host": "scheme",
    "chdb:/var/lib/x": "chdb:// is written with two",
    "chdb:observer.db": "chdb:// is written with two",
    "HTTPS:/host": "https:// is written with two",
    "chdb://": "no path",
    "chdb:///a?b": "'?'",
    "chdb://me:hunter2@x": "no user",
    "chdb:///a\tb": "control",
}


@pytest.mark.parametrize("text", BAD)
def test_an_unusable_url_is_refused_with_the_reason_and_the_accepted_forms(text: str) -> None:
    with pytest.raises(ValueError, match="accepted: host, host:port") as caught:
        parse_clickhouse(text)
    assert BAD[text] in str(caught.value)
    assert "hun" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("text", [text for text in BAD if "hun" in text])
def test_no_password_is_left_of_a_redacted_url_however_mistyped(text: str) -> None:
    assert "hun" not in redact(text)
    assert "ter2" not in redact(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://:8123", "http://:8123"),
        ("localhost:8123/prefix", "localhost:8123/prefix"),
        ("http://[::1]:8123/x", "http://[::1]:8123/x"),
        ("::1", "::1"),
        ("chdb:///abs/path", "chdb:///abs/path"),
        ("https://me:secret@host:1/x", "https://***@host:1/x"),
        ("me:p@ss:w@host", "***@host"),
        ("http://host?password=s@cret", "http://***"),
        ("http://host:1/x?password=secret", "http://host:1/x***"),
    ],
)
def test_what_is_no_secret_stays_readable(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_reprs_and_labels_hide_user_and_password() -> None:
    for value in (parse_clickhouse("https://me:secret@host/x"), parse_otlp("https://me:secret@host/x")):
        for text in (repr(value), str(value), f"{[value]}", value.label):
            assert "secret" not in text
            assert "me:" not in text
            assert "host" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://localhost:4317", OtlpEndpoint("http", "localhost", 4317)),
        ("https://otel.example/v1/traces", OtlpEndpoint("https", "otel.example", None, "/v1/traces")),
        ("localhost:4317", OtlpEndpoint("", "localhost", 4317)),
        ("[::1]:4317", OtlpEndpoint("", "::1", 4317)),
        ("http://me:s%40@host:1", OtlpEndpoint("http", "host", 1, "", "me", "s@")),
    ],
)
def test_every_documented_form_of_an_otlp_endpoint_is_understood(text: str, expected: OtlpEndpoint) -> None:
    assert parse_otlp(text) == expected
    assert parse_otlp(expected.label) == expected._replace(user=None, password=None)


@pytest.mark.parametrize(
    "text",
    ["localhost", "localhost:4317/v1", "grpc://host:1", "http://:4317", "chdb://memory", "http://h?x=1"],
)
def test_an_unusable_endpoint_is_refused_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"accepted: http://host\[:port\]"):
        parse_otlp(text)


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        ({}, {}, ("url", "secret")),
        ({"ch_user": "me"}, {}, ("me", "secret")),
        ({}, {"PYTEST_OBSERVER_CH_PASSWORD": "other"}, ("url", "other")),
        ({"ch_user": "me", "ch_password": ""}, {}, ("me", "")),
        # Said in so many words, the default is no default.
        ({"ch_user": "default"}, {}, ("default", "secret")),
    ],
)
def test_an_explicit_user_or_password_wins_over_the_url(
    flags: dict[str, str], environ: dict[str, str], expected: tuple[str, str]
) -> None:
    settings = _settings.resolve_layers({"ch_url": "url:secret@host", **flags}, environ, {})
    assert credentials(settings) == expected


def test_without_any_user_the_default_one_is_used() -> None:
    assert credentials(_settings.resolve_layers({"ch_url": "host"}, {}, {})) == ("default", "")


def test_a_relative_database_needs_a_directory_whose_name_is_text() -> None:
    with pytest.raises(ValueError, match="no UTF-8"):
        parse_clickhouse("chdb://observer.db", "/caf\udce9")
