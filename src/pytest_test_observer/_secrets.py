"""The secrets a run is given, in every spelling, and what of the environment children of ours must not inherit."""

from __future__ import annotations

import json
import re
from os.path import commonprefix
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_test_observer._settings import Settings

__all__ = ["PRIVATE", "SHORTEST_SECRET", "blacked_out", "given_secrets", "spellings"]

PRIVATE = ("PYTEST_OBSERVER_", "PYTEST_ADDOPTS", "OTEL_EXPORTER_OTLP_")
"""How variables begin that can hold secrets: what is needed of them travels to the helper through its pipe."""

# To black out shorter texts would mangle words, and show what they are.
SHORTEST_SECRET = 4
# Where reprlib and pytest leave something out of a value, and where we do of a text; read backwards too.
_CUT = "..."
_CUTS = (_CUT, f"\n[{_CUT}", f"\n]{_CUT}")
_USERINFO = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)@")


def given_secrets(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return the secrets of settings and environment, also those that others overrule; none is short.

    A URL's user is one where no password stands beside it: then it can be a token.
    """
    private = {name: value for name, value in environ.items() if name.startswith(PRIVATE)}
    urls = [settings.ch_url, settings.otlp_endpoint]
    urls += [value for name, value in private.items() if name.endswith(("_URL", "_ENDPOINT"))]
    found = [settings.ch_password]
    found += [value for name, value in private.items() if name.endswith("_PASSWORD")]
    for url in urls:
        found += _secrets_of_url(url)
    for name, value in private.items():
        if name.endswith("HEADERS"):
            found += _secrets_of_headers(value)
    return sorted({secret for secret in found if len(secret) >= SHORTEST_SECRET})


def spellings(secrets: Iterable[str]) -> list[str]:
    """Return how texts can spell secrets: as they are, in a URL, and between Python's or JSON's quotes.

    The longest come first.
    """
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    return sorted(forms, key=len, reverse=True)


def blacked_out(text: str, spelled: Iterable[str]) -> str:
    """Return ``text`` without secrets that are ``spelled`` as in :func:`spellings`.

    Nor with what is left of one where pytest has shortened a value, or we a text.
    """
    for secret in spelled:
        text = text.replace(secret, "***")
        if _CUT in text:
            text = _without_rest(text, secret)
            text = _without_rest(text[::-1], secret[::-1])[::-1]
    return text


def _without_rest(text: str, secret: str) -> str:
    """Black out where ``secret`` begins and then is cut off."""
    head = secret[:SHORTEST_SECRET]
    at = text.find(head)
    while at >= 0:
        end = at + len(commonprefix((text[at : at + len(secret)], secret)))  # noqa: RUF071 - of characters, not of paths
        if text.startswith(_CUTS, end):
            text = f"{text[:at]}***{text[end:]}"
        at = text.find(head, at + 1)
    return text


def _forms(secret: str) -> list[str]:
    errors = "surrogateescape"  # bytes of the environment that are no UTF-8
    in_urls = [quote(secret, errors=errors), quote(secret, safe="", errors=errors), quote_plus(secret, errors=errors)]
    in_python = [repr(secret)[1:-1], ascii(secret)[1:-1], repr(secret.encode("utf-8", "surrogateescape"))[2:-1]]
    in_json = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]]
    return [secret, *in_urls, *in_python, *in_json]


def _secrets_of_url(url: str) -> list[str]:
    """Return what of a URL is secret: as it stands there, and decoded."""
    userinfo = _USERINFO.match(url)
    if not userinfo:
        return []
    user, colon, password = userinfo[1].partition(":")
    written = password if colon else user
    return [written, unquote(written)]


def _secrets_of_headers(text: str) -> list[str]:
    """Return the values of ``name=value`` pairs, with and without the word that names their scheme.

    Each as it stands there and decoded; where there is no name, somebody may have forgotten it.
    """
    pairs = (pair.partition("=") for pair in text.split(","))
    written = [(value if equals else name).strip() for name, equals, value in pairs]
    values = [form for value in written for form in (value, unquote(value))]
    return [part for value in values for part in (value, value.partition(" ")[2])]
