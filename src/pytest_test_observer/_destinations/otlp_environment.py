"""Where spans go: our settings, then OpenTelemetry's environment variables, resolved once.

The exporters could read the variables themselves, but they log a malformed header with its token in it, pass a
password in an endpoint on to name resolution, and the helper works in another directory than certificates are
named from. Names and defaults are those of OpenTelemetry's "Protocol Exporter" specification.
"""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from pytest_test_observer._destinations.settings import OtlpSettings
from pytest_test_observer._target import parse_otlp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_test_observer._settings import Settings

__all__ = ["is_disabled", "otlp_settings"]

GRPC, HTTP = "grpc", "http/protobuf"
_PREFIX = "OTEL_EXPORTER_OTLP_"
_TRACES_PATH = "/v1/traces"
_DEFAULTS = {GRPC: "http://localhost:4317", HTTP: "http://localhost:4318"}
_COMPRESSIONS = ("none", "gzip", "deflate")
# Python's exporters read seconds where the specification says milliseconds: either way no request takes longer.
_LONGEST_TIMEOUT_S = 30.0
_TIMEOUT_S = 10.0
# What header names are made of (RFC 9110, token; gRPC has less, and bytes in those in -bin); values are printable
# ASCII, or gRPC and HTTP refuse them.
_HEADER_NAMES = {GRPC: re.compile(r"[0-9A-Za-z_.\-]+(?<!-bin)"), HTTP: re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")}
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


class _Endpoint(NamedTuple):
    """An endpoint as its source gives it: ``is_base`` means that the path of traces comes behind it for HTTP."""

    url: str
    source: str
    is_base: bool


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Tell whether ``OTEL_SDK_DISABLED`` switches OpenTelemetry off; only ``true`` does, in any case."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def otlp_settings(settings: Settings, environ: Mapping[str, str]) -> OtlpSettings:
    """Return how spans travel; what of the environment cannot be used is said in ``problem`` and ``notes``."""
    variables = _Variables(environ)
    protocol = settings.otlp_protocol or variables.get("PROTOCOL") or GRPC
    if protocol not in _DEFAULTS:
        name = variables.name("PROTOCOL")
        return OtlpSettings(problem=f"{name} is none of grpc and http/protobuf: change it or give --otlp-protocol")
    endpoint = _endpoint(settings, variables, protocol)
    try:
        target = parse_otlp(endpoint.url)
    except ValueError as error:
        return OtlpSettings(protocol=protocol, problem=f"{endpoint.source} cannot be used: {error}")
    url = _complete(target.label, target.port, protocol, is_base=endpoint.is_base)
    notes: list[str] = []
    return OtlpSettings(
        endpoint=url,
        protocol=protocol,
        insecure=_insecure(target.scheme, variables),
        headers={**_headers(variables, protocol, notes), **_authorization(target.user, target.password)},
        timeout_s=_timeout(variables, notes),
        compression=_compression(variables, notes),
        certificate=variables.path("CERTIFICATE"),
        client_key=variables.path("CLIENT_KEY"),
        client_certificate=variables.path("CLIENT_CERTIFICATE"),
        label=url,
        notes=notes,
    )


class _Variables:
    """The variables of the exporter; one for traces wins over the one for all signals, an empty one is not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def name(self, setting: str) -> str:
        """Name of the variable that sets ``setting``."""
        traces = f"{_PREFIX}TRACES_{setting}"
        return traces if self._environ.get(traces, "").strip() else f"{_PREFIX}{setting}"

    def get(self, setting: str) -> str:
        """Value of ``setting``, empty where no variable sets it."""
        return self._environ.get(self.name(setting), "").strip()

    def path(self, setting: str) -> str:
        """Return the file that ``setting`` names, absolute."""
        path = self.get(setting)
        return os.path.abspath(path) if path else ""


def _endpoint(settings: Settings, variables: _Variables, protocol: str) -> _Endpoint:
    if settings.otlp_endpoint:
        return _Endpoint(settings.otlp_endpoint, "--otlp-endpoint", is_base=True)
    name, url = variables.name("ENDPOINT"), variables.get("ENDPOINT")
    return _Endpoint(url or _DEFAULTS[protocol], name, is_base="TRACES" not in name)


def _complete(url: str, port: int | None, protocol: str, *, is_base: bool) -> str:
    """Add what the protocol lets out: HTTP's path and scheme, the port that gRPC would take for another."""
    if protocol == HTTP:
        url = url if "://" in url else f"http://{url}"
        return url + _TRACES_PATH if is_base and not url.endswith(_TRACES_PATH) else url
    if port is None:
        address = urlsplit(url)
        return f"{address.scheme}://{address.netloc}:{443 if address.scheme == 'https' else 4317}"
    return url


def _insecure(scheme: str, variables: _Variables) -> bool:
    return scheme == "http" if scheme else variables.get("INSECURE").lower() == "true"


def _headers(variables: _Variables, protocol: str, notes: list[str]) -> dict[str, str]:
    """Return the pairs ``name=value`` of the variable, percent-decoded; others are left out, unseen."""
    found = {}
    for pair in variables.get("HEADERS").split(","):
        name, equals, value = (unquote(part).strip() for part in pair.partition("="))
        if equals and _HEADER_NAMES[protocol].fullmatch(name) and _HEADER_VALUE.fullmatch(value):
            found[name.lower()] = value
        elif pair.strip() and not notes:
            name = variables.name("HEADERS")
            notes.append(f"{name} has a part that is no name=value pair for {protocol}; it was left out")
    return found


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    if user is None and password is None:
        return {}
    token = base64.b64encode(f"{user or ''}:{password or ''}".encode()).decode()
    return {"authorization": f"Basic {token}"}


def _timeout(variables: _Variables, notes: list[str]) -> float:
    text = variables.get("TIMEOUT")
    try:
        seconds = float(text or _TIMEOUT_S)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        notes.append(f"{variables.name('TIMEOUT')} is no number above 0; {_TIMEOUT_S:g} s are used")
        return _TIMEOUT_S
    return min(seconds, _LONGEST_TIMEOUT_S)


def _compression(variables: _Variables, notes: list[str]) -> str:
    given = variables.get("COMPRESSION").lower() or "none"
    if given in _COMPRESSIONS:
        return given
    notes.append(f"{variables.name('COMPRESSION')} is none of {', '.join(_COMPRESSIONS)}; nothing is compressed")
    return "none"
